import { readFileSync } from 'node:fs';
import { containerCgroup, parseProcessCgroups } from '../cgroup/path.ts';

/**
 * Whether a process is in the container's cgroup or below it. By /proc/PID/cgroup, which always answers: /proc/PID/stat, where the
 * start time is, waits while the process is in an execve(2) that its tenant can make endless. Throws ENOENT or ESRCH.
 */
export function isOfContainer(pid: number, containerId: string): boolean {
  const { v1Devices, v2 } = parseProcessCgroups(readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
  return [v1Devices, v2].some((path) => path !== undefined && containerCgroup(path, containerId) !== undefined);
}
