import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WORK } from './places.ts';

/** What comes and goes in the host's /dev by itself, and by the doubles of NPUs in tests beside this one. */
const NOT_OURS = /^\/dev\/(pts|shm|v?davinci\d|e2e-)/;

/** A directory of the host that no container may change, and the host's /dev. */
export interface Canary {
  readonly path: string;
  /** Everything in it and in the host's /dev: names, kinds, modes, owners, device numbers, contents. */
  look(): readonly string[];
  remove(): void;
}

/** A directory with a file, an empty directory, and nodes of the devices that the tests grant. */
export function makeCanary(): Canary {
  mkdirSync(WORK, { recursive: true });
  const path = mkdtempSync(join(WORK, 'canary-'));
  writeFileSync(join(path, 'file'), 'untouched');
  mkdirSync(join(path, 'empty'));
  spawnSync('mknod', [join(path, 'card0'), 'c', '226', '0']);
  spawnSync('mknod', [join(path, 'fuse'), 'c', '10', '229']);
  return {
    path,
    look: () => [...list(path), ...list('/dev'), readFileSync(join(path, 'file'), 'utf8')],
    remove: () => {
      rmSync(path, { recursive: true });
    },
  };
}

function list(directory: string): readonly string[] {
  return readdirSync(directory, { withFileTypes: true })
    .sort((a, b) => a.name.localeCompare(b.name))
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      if (NOT_OURS.test(path)) return [];
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat === undefined) return [];
      const line = `${path} ${stat.mode} ${stat.uid} ${stat.gid} ${stat.rdev}`;
      return entry.isDirectory() ? [line, ...list(path)] : [line];
    });
}
