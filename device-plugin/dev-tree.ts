import { type BigIntStats, lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A device file of the host. */
export interface DeviceFile {
  /** Below /dev, with all links followed: what was looked at is what a container gets. */
  readonly path: string;
  /** Kind, major and minor: `c188:0`. */
  readonly number: string;
}

/** As many links as path_resolution(7) follows. */
const MAX_LINKS = 40;

/**
 * The device file that `path` leads to on the host, whose /dev is seen at `devRoot`; `undefined` if it leads elsewhere or to
 * none. Links are followed as the host would, an absolute one from the host's root, but never to anything outside of /dev.
 */
export function deviceFile(path: string, devRoot: string): DeviceFile | undefined {
  const found = follow(path, devRoot);
  const kind = found?.stats.isCharacterDevice() ? 'c' : found?.stats.isBlockDevice() ? 'b' : undefined;
  return found && kind && { path: found.path, number: `${kind}${majorMinor(found.stats.rdev)}` };
}

interface Found {
  /** As the host names it. */
  readonly path: string;
  /** As it is seen here. */
  readonly seen: string;
  readonly stats: BigIntStats;
}

/** Undefined also for what is away, or has no folder on the way. */
function follow(path: string, devRoot: string): Found | undefined {
  try {
    return followed(path, devRoot);
  } catch {
    return undefined;
  }
}

function followed(path: string, devRoot: string): Found | undefined {
  const rest = path.split('/');
  const at: Found[] = [];
  for (let links = 0; rest.length > 0; ) {
    const part = rest.shift() ?? '';
    if (part === '' || part === '.') continue;
    if (part === '..') {
      at.pop();
      continue;
    }
    const next = enter(at.at(-1), part, devRoot);
    if (next === undefined) return undefined;
    if (next.stats.isSymbolicLink()) {
      const target = readlinkSync(next.seen);
      links += 1;
      if (links > MAX_LINKS) return undefined;
      if (target.startsWith('/')) at.length = 0;
      rest.unshift(...target.split('/'));
    } else if (rest.length > 0 && !next.stats.isDirectory()) return undefined;
    else at.push(next);
  }
  return at.at(-1);
}

/** One step down; the only folder of the host's root that is entered is /dev. */
function enter(folder: Found | undefined, part: string, devRoot: string): Found | undefined {
  if (folder === undefined && part !== 'dev') return undefined;
  const seen = folder === undefined ? devRoot : join(folder.seen, part);
  const stats = folder === undefined ? statSync(seen, { bigint: true }) : lstatSync(seen, { bigint: true });
  return { path: `${folder?.path ?? ''}/${part}`, seen, stats };
}

/** As glibc packs a dev_t (sys/sysmacros.h). */
function majorMinor(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

export function isPattern(path: string): boolean {
  return /[*?]/.test(path);
}

/** Existing paths that a pattern describes, in order. `*` and `?` stand for anything but `/`. */
export function matchesOf(pattern: string, devRoot: string): readonly string[] {
  let found = ['/dev'];
  for (const part of pattern.split('/').slice(2)) {
    found = found.flatMap((folder) => {
      if (!isPattern(part)) return [`${folder}/${part}`];
      const names = namesIn(folder, devRoot).filter((name) => matches(part, name));
      return names.map((name) => `${folder}/${name}`);
    });
  }
  return found.toSorted();
}

function namesIn(folder: string, devRoot: string): readonly string[] {
  try {
    const found = follow(folder, devRoot);
    return found === undefined ? [] : readdirSync(found.seen);
  } catch {
    return [];
  }
}

/** Whether a path is one that a pattern describes. */
export function pathMatches(pattern: string, path: string): boolean {
  const [parts, names] = [pattern.split('/'), path.split('/')];
  return parts.length === names.length && parts.every((part, index) => matches(part, names[index] ?? ''));
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
