import { readdirSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { basename, join, posix } from 'node:path';
import type { HostDev, NodeSpec } from './devs.ts';
import { idOf } from './names.ts';

/** A device as the kubelet is told of it. */
export interface Device {
  readonly ids: readonly string[];
  /** What is wrong with it now. */
  readonly problem: string | undefined;
  /** `DeviceSpec`s of an Allocate; links are followed, so that what was looked at is what the container gets. */
  readonly nodes: readonly {
    readonly containerPath: string;
    readonly hostPath: string;
    readonly permissions: string;
  }[];
}

/** As many links as path_resolution(7) follows. */
const MAX_LINKS = 40;

/** The devices of a resource as they are now under `devRoot`, where the host's /dev is seen. */
export function devicesOf({ resource, count, nodes }: HostDev, devRoot: string): readonly Device[] {
  const [first, ...others] = nodes;
  if (first === undefined) return [];
  const idsOf = (base: string): string[] => Array.from({ length: count }, (_, index) => idOf(base, index));
  if (others.length > 0) return [deviceOf(idsOf(resource.slice(resource.indexOf('/') + 1)), nodes, devRoot)];
  if (!isPattern(first.path)) {
    const device = deviceOf(idsOf(first.path), [{ ...first, optional: false }], devRoot);
    return first.optional && device.problem !== undefined ? [] : [device];
  }
  return matchesOf(first.path, devRoot)
    .map((path) => deviceOf(idsOf(path), [{ ...first, path, optional: false }], devRoot))
    .filter(({ problem }) => problem === undefined);
}

function deviceOf(ids: readonly string[], specs: readonly NodeSpec[], devRoot: string): Device {
  const found = specs.map((spec) => ({ ...spec, hostPath: deviceFile(spec.path, devRoot) }));
  const lacking = found.find(({ hostPath, optional }) => hostPath === undefined && !optional);
  const nodes = found.flatMap(({ path, hostPath, containerPath = path, permissions }) => {
    if (hostPath === undefined) return [];
    return [
      {
        containerPath: containerPath.endsWith('/') ? containerPath + basename(path) : containerPath,
        hostPath,
        permissions,
      },
    ];
  });
  const problem =
    lacking === undefined && nodes.length > 0
      ? undefined
      : `${(lacking ?? specs[0])?.path} is no device file of the host now`;
  return { ids, problem, nodes };
}

/** Where the device file is that `path` leads to, as a path below /dev; `undefined` if it leads elsewhere or to none. */
export function deviceFile(path: string, devRoot: string): string | undefined {
  try {
    const real = realPath(path, devRoot);
    if (real === undefined) return undefined;
    const stats: Stats = statSync(join(devRoot, real.slice('/dev'.length)));
    return stats.isCharacterDevice() || stats.isBlockDevice() ? real : undefined;
  } catch {
    return undefined;
  }
}

/** Follows links as the host would: an absolute one begins at the host's root, and nothing may leave /dev. */
function realPath(path: string, devRoot: string): string | undefined {
  const rest = path.split('/').slice(2);
  let done = '/dev';
  for (let links = 0; rest.length > 0; ) {
    const at = posix.join(done, rest.shift() ?? '');
    const target = linkTarget(join(devRoot, at.slice('/dev'.length)));
    if (target === undefined) {
      done = at;
      continue;
    }
    links += 1;
    const to = posix.normalize(posix.resolve(done, target));
    if (links > MAX_LINKS || !to.startsWith('/dev/')) return undefined;
    rest.unshift(...to.split('/').slice(2));
    done = '/dev';
  }
  return done;
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'EINVAL') return undefined;
    throw err;
  }
}

export function isPattern(path: string): boolean {
  return /[*?]/.test(path);
}

/** Existing paths that a pattern describes, in order. `*` and `?` stand for anything but `/`. */
function matchesOf(pattern: string, devRoot: string): readonly string[] {
  let found = ['/dev'];
  for (const part of pattern.split('/').slice(2)) {
    found = found.flatMap((folder) => {
      if (!isPattern(part)) return [`${folder}/${part}`];
      const names = namesIn(join(devRoot, folder.slice('/dev'.length)));
      return names.filter((name) => matches(part, name)).map((name) => `${folder}/${name}`);
    });
  }
  return found.toSorted();
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Without a regular expression, which takes exponentially long for some patterns: goes back to the last `*` only. */
export function matches(pattern: string, name: string): boolean {
  let [at, star, from] = [0, -1, 0];
  for (let index = 0; index < name.length; ) {
    if (pattern[at] === '*') [star, from] = [at++, index];
    else if (pattern[at] === '?' || pattern[at] === name[index]) [at, index] = [at + 1, index + 1];
    else if (star >= 0) [at, index] = [star + 1, ++from];
    else return false;
  }
  return /^\**$/.test(pattern.slice(at));
}
