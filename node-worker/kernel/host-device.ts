import { closeSync, fstatSync, openSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';
import { deviceOf } from './device-number.ts';
import type { HostDevice } from './engine.ts';
import { O_NOFOLLOW, O_PATH } from './flags.ts';
import { hasCode } from './syscall.ts';

/** See `KernelEngine.hostDevice`. Throws `NotFound` when there is nothing, `Invalid` when it is not a device node. */
export function hostDevice(path: string): HostDevice {
  const fd = openHost(path);
  try {
    const stat = fstatSync(fd, { bigint: true });
    const device = deviceOf(stat);
    if (device === undefined) throw fail('Invalid', `Cannot use host device "${path}": it is not a device node`);
    return { ...device, mode: Number(stat.mode & 0o7777n), uid: Number(stat.uid), gid: Number(stat.gid) };
  } finally {
    closeSync(fd);
  }
}

function openHost(path: string): number {
  try {
    return openSync(path, O_PATH | O_NOFOLLOW);
  } catch (err) {
    if (!hasCode(err, 'ENOENT', 'ENOTDIR')) throw err;
    throw fail('NotFound', `Cannot use host device "${path}": the node has no such file`, err);
  }
}
