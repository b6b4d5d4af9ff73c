import { readFileSync } from 'node:fs';
import { failureOf } from '../../contract/failures.ts';
import { deviceKey } from '../cgroup/rule.ts';
import { membersOf } from './cgroup-tree.ts';
import type { OpenContainer } from './container.ts';
import type { DeviceId, DeviceUser } from './engine.ts';
import { whileFrozen } from './freeze.ts';
import { hasCode } from './syscall.ts';

/**
 * Processes of the container that hold a device open or mapped. Compared by device number, because the names that links
 * in /proc show are the tenant's. Neither a process that is another one at every moment escapes nor one that moves its
 * descriptor all the time: what has run meanwhile is looked at again, at last while none of them runs. Not seen: a
 * descriptor given to a process outside the container, or on its way between two inside. Throws `ContainerStuck`.
 */
export async function usersOf(container: OpenContainer, devices: readonly DeviceId[]): Promise<readonly DeviceUser[]> {
  if (devices.length === 0) return [];
  const { pid, cgroup, files } = container;
  const look = { cgroup: cgroup.path, init: pid, devices };
  const { users, restless } = await files.lookForUsers(container, { ...look, frozen: false });
  if (!restless) return users;
  return (await whileFrozen(container, () => files.lookForUsers(container, { ...look, frozen: true }))).users;
}

/** Not all at once: each is opened by this process, which serves others. */
const MAX_SUSPECTS = 1024;

/**
 * `usersOf` for who ends them: where the container does not let itself be looked into, every process of it is taken for a user,
 * its init first. It could hide one for as long as it likes otherwise.
 */
export async function suspectsIn(
  container: OpenContainer,
  devices: readonly DeviceId[],
): Promise<readonly DeviceUser[]> {
  try {
    return await usersOf(container, devices);
  } catch (err) {
    if (failureOf(err)?.type !== 'ContainerStuck') throw err;
    const pids = [...new Set([container.pid, ...membersOf(container.cgroup.path)])];
    return pids.slice(0, MAX_SUSPECTS).flatMap((pid) => devices.slice(0, 1).flatMap(suspect(container, pid)));
  }
}

const suspect =
  (container: OpenContainer, pid: number) =>
  (device: DeviceId): readonly DeviceUser[] => {
    try {
      const command = readFileSync(`/proc/${pid}/comm`, 'latin1').trimEnd();
      const containerInit = pid === container.pid;
      return [{ pid, startTime: '', command, containerInit, via: 'unknown', device: deviceKey(device) }];
    } catch (err) {
      if (hasCode(err, 'ENOENT', 'ESRCH')) return [];
      throw err;
    }
  };
