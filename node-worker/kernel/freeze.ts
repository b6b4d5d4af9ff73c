import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode, stableBytes, syscall } from './syscall.ts';

/** The container's directory in the v1 freezer hierarchy, or its v2 cgroup. */
export interface Freezer {
  readonly version: 1 | 2;
  readonly path: string;
}

/** Put on the cgroup while we have it frozen, so that a freeze is known as ours after a crash; cgroupfs keeps it. */
const MARK = 'trusted.device_mounter.frozen';
/** Paths of what this process has frozen now. */
const frozenByUs = new Set<string>();
/** A process in an uninterruptible wait delays the freeze; then the scan runs without it being complete. */
const FREEZE_WAIT_MS = 2_000;
const POLL_MS = 2;
/** At least as many polls, whatever the time: a node worker that stood still has not waited. On a quiet machine the time is longer. */
const MIN_POLLS = 500;

/**
 * Runs `use` while no process of the container does, so that a scan sees all there are. A container that somebody else
 * has frozen stays so. Without a freezer `use` just runs.
 */
export async function whileFrozen<T>(
  { freezer }: { readonly freezer: Freezer | undefined },
  use: () => T | Promise<T>,
): Promise<T> {
  if (freezer === undefined || isFrozen(freezer)) return use();
  try {
    frozenByUs.add(freezer.path);
    freeze(freezer);
    const end = performance.now() + FREEZE_WAIT_MS;
    for (let polls = 0; !isFrozen(freezer) && (polls < MIN_POLLS || performance.now() < end); polls++)
      await delay(POLL_MS);
    return await use();
  } finally {
    frozenByUs.delete(freezer.path);
    thaw(freezer);
  }
}

/** Ends a freeze that an earlier run of this program began and did not end. */
export function thawIfLeftFrozen({ freezer }: { readonly freezer: Freezer | undefined }): void {
  if (freezer !== undefined && !frozenByUs.has(freezer.path) && isMarked(freezer)) thaw(freezer);
}

function freeze(freezer: Freezer): void {
  unlessGone(undefined, () => {
    syscall('setxattr', [freezer.path, MARK, stableBytes(1), 1, 0], freezer.path);
    setFrozen(freezer, true);
  });
}

function thaw(freezer: Freezer): void {
  unlessGone(undefined, () => {
    setFrozen(freezer, false);
    syscall('removexattr', [freezer.path, MARK], freezer.path);
  });
}

/** A container can end at any moment, and its cgroup with it: nothing runs in that. */
function unlessGone<T>(otherwise: T, use: () => T): T {
  try {
    return use();
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENODEV')) return otherwise;
    throw err;
  }
}

function isMarked({ path }: Freezer): boolean {
  try {
    syscall('getxattr', [path, MARK, 0, 0], path);
    return true;
  } catch (err) {
    if (hasCode(err, 'ENODATA', 'ENOTSUP', 'EOPNOTSUPP', 'ENOENT')) return false;
    throw err;
  }
}

function setFrozen({ version, path }: Freezer, frozen: boolean): void {
  const [file, on, off] = version === 2 ? ['cgroup.freeze', '1', '0'] : ['freezer.state', 'FROZEN', 'THAWED'];
  writeFileSync(`${path}/${file}`, frozen ? on : off, { flag: 'r+' });
}

function isFrozen({ version, path }: Freezer): boolean {
  return unlessGone(true, () =>
    version === 2
      ? /^frozen 1$/m.test(readFileSync(`${path}/cgroup.events`, 'latin1'))
      : readFileSync(`${path}/freezer.state`, 'latin1').trim() === 'FROZEN',
  );
}
