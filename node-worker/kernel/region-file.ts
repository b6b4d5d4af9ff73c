import { closeSync, constants, fchownSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { codeOf } from '../error-code.ts';
import { idsOf } from './container-ids.ts';
import { type ContainerPlace, withRoot } from './container-root.ts';
import type { GpuLimit, RegionPlace } from './engine.ts';
import { O_DIRECTORY, O_NOFOLLOW } from './flags.ts';
import { editsFor, parseRegion, type Region } from './hami-region.ts';
import { identityOf, withSource } from './host-file.ts';
import { isSameMount } from './mount-guard.ts';
import { withPath } from './open-in-root.ts';
import { Refusal } from './refusal.ts';
import { statNow } from './stat-now.ts';
import { hasCode, stableBytes, syscall } from './syscall.ts';

/** Where HAMi-core counts in a container that was started with a vGPU. */
export const COUNT_FOLDER = '/tmp/vgpu';

/** What is done while a program holds the lock of the file: `refuse`, or `goOn`, since nobody else writes limits once they are there. */
export type IfLocked = 'refuse' | 'goOn';

/**
 * Gives the GPUs these limits. Answers whether anything was to be written; a file that is not there yet gets its limits from the
 * environment of the first program, and is looked at again. Throws `Refusal` ContainerUnsupported, ContainerStuck.
 */
export function setLimits(
  container: ContainerPlace,
  place: RegionPlace,
  limits: readonly GpuLimit[],
  ifLocked: IfLocked,
): boolean {
  return withRegion(container, place, (fd) => {
    if (fd === undefined) return false;
    if ('file' in place) own(container, fd);
    if (ifLocked === 'refuse') lock(fd);
    else isLocked(fd);
    const region = regionIn(fd);
    const edits = region === undefined ? [] : editsFor(region, limits);
    for (const { offset, bytes } of edits) writeSync(fd, bytes, 0, bytes.length, offset);
    const after = region && regionIn(fd);
    if (after !== undefined && editsFor(after, limits).length === 0) return edits.length > 0;
    if (after === undefined && region === undefined) return false;
    throw refused('the container has changed them meanwhile');
  });
}

/** Whether they have. What cannot be read is no reason to mend anything. */
export function hasLimits(container: ContainerPlace, place: RegionPlace, limits: readonly GpuLimit[]): boolean {
  try {
    return withRegion(container, place, (fd) => {
      const region = fd === undefined ? undefined : regionIn(fd);
      return region === undefined || editsFor(region, limits).length === 0;
    });
  } catch (err) {
    if (err instanceof Refusal && err.type === 'ContainerUnsupported') return true;
    throw err;
  }
}

/** With pread(2) and pwrite(2): a mapped file that the tenant cuts off would end this process. */
function regionIn(fd: number): Region | undefined {
  const read = (offset: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
  };
  return parseRegion(read, fstatSync(fd).size);
}

/** Runs `use` with the file, or with nothing where there is none yet. Throws `Refusal` ContainerUnsupported. */
function withRegion(container: ContainerPlace, place: RegionPlace, use: (fd: number | undefined) => boolean): boolean {
  try {
    if ('file' in place) return closing(openSync(place.file, constants.O_RDWR | O_NOFOLLOW), use);
    return withFolder(container, place.folder, (folder) => {
      const fd = openTenantFile(folder, place.name);
      return fd === undefined ? use(fd) : closing(fd, use);
    });
  } catch (err) {
    if (err instanceof Refusal && err.type === 'NotFound') throw refused('its folder is gone from the node', err);
    const code = codeOf(err);
    if (typeof code !== 'string') throw err;
    throw refused(`the kernel answers ${code}`, err);
  }
}

/** Runs `use` with the folder that the device plugin has made for the container, and nothing that the container has put in its place. */
function withFolder(container: ContainerPlace, hostFolder: string, use: (fd: number) => boolean): boolean {
  return withSource(hostFolder, ({ identity }) =>
    withRoot(container, ({ rootFd, guard }) =>
      withPath(
        rootFd,
        COUNT_FOLDER,
        O_DIRECTORY,
        (fd) => {
          if (identityOf(statNow(fd)) === identity) return use(fd);
          throw refused(`"${COUNT_FOLDER}" is not what its device plugin has mounted there`);
        },
        guard,
      ),
    ),
  );
}

/** It lies in /tmp, where not even root may open another's file to make it (proc_sys_fs(5), protected_regular). */
function own(container: ContainerPlace, fd: number): void {
  const { uid, gid } = idsOf(container);
  fchownSync(fd, uid(0), gid(0));
}

function closing<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Undefined where there is none. It is looked at before it is opened: to open a device or a pipe has effects, and a lease would keep the
 * opener waiting.
 */
function openTenantFile(folder: number, name: string): number | undefined {
  try {
    return withPath(folder, name, O_NOFOLLOW, (fd) => {
      if (statNow(fd).kind !== 'file' || !isSameMount(fd, folder))
        throw refused(`"${COUNT_FOLDER}/${name}" must be a file, is something else`);
      return openSync(`/proc/self/fd/${fd}`, constants.O_RDWR | constants.O_NONBLOCK);
    });
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return undefined;
    throw err;
  }
}

const refused = (why: string, cause?: unknown): Refusal =>
  new Refusal('ContainerUnsupported', `Cannot change the limits of the container's vGPUs: ${why}`, cause);

/** include/uapi/asm-generic/fcntl.h. Of an open file: it excludes lockf(3), by which HAMi-core locks while it makes the region. */
const F_OFD_SETLK = 37;
const F_WRLCK = 1;
/** `struct flock`: type and whence of 2 bytes, start, length (0: all of it) and process of 8, 8 and 4. */
const FLOCK_BYTES = 32;
const LOCK_MS = 1_000;
const TRY_AGAIN_MS = 10;

/** Until the file is closed. Throws `Refusal` ContainerStuck. */
function lock(fd: number): void {
  const until = performance.now() + LOCK_MS;
  while (isLocked(fd)) {
    if (performance.now() > until)
      throw new Refusal(
        'ContainerStuck',
        `Cannot change the limits of the container's vGPUs: a program has locked the file in which HAMi-core counts for ${LOCK_MS / 1_000} s`,
      );
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TRY_AGAIN_MS);
  }
}

/** Whether another has it; where not, it is ours now. */
function isLocked(fd: number): boolean {
  const flock = stableBytes(FLOCK_BYTES);
  flock.writeInt16LE(F_WRLCK, 0);
  try {
    syscall('fcntl', [fd, F_OFD_SETLK, flock]);
    return false;
  } catch (err) {
    if (hasCode(err, 'EAGAIN', 'EACCES')) return true;
    throw err;
  }
}
