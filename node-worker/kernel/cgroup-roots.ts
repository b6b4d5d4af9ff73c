import { readFileSync } from 'node:fs';
import { fail } from '../../contract/failures.ts';

/** Where the hierarchies that can decide over devices are mounted. */
export interface CgroupRoots {
  readonly v1Devices?: string;
  readonly v2?: string;
  readonly v1Freezer?: string;
}

/**
 * Finds the mounts in the text of /proc/PID/mountinfo (proc_pid_mountinfo(5)). Only a mount of a whole hierarchy counts;
 * of several the last, which hides the others when it lies on the same directory.
 */
export function parseCgroupRoots(mountinfo: string): CgroupRoots {
  const roots: { v1Devices?: string; v2?: string; v1Freezer?: string } = {};
  for (const line of mountinfo.split('\n')) {
    const [mount = '', filesystem = ''] = line.split(' - ');
    const [, , , root, point] = mount.split(' ');
    const [type, , options = ''] = filesystem.split(' ');
    if (root !== '/' || point === undefined) continue;
    if (type === 'cgroup2') roots.v2 = point;
    if (type === 'cgroup' && options.split(',').includes('devices')) roots.v1Devices = point;
    if (type === 'cgroup' && options.split(',').includes('freezer')) roots.v1Freezer = point;
  }
  return roots;
}

/** The roots as this process sees them. Throws `Internal` when there is none, or when it has a cgroup namespace of its own. */
export function findCgroupRoots(): CgroupRoots {
  refuseOwnNamespace(readFileSync('/proc/1/cgroup', 'utf8'));
  const roots = parseCgroupRoots(readFileSync('/proc/self/mountinfo', 'utf8'));
  if (roots.v1Devices === undefined && roots.v2 === undefined) {
    throw fail('Internal', 'Cannot find containers: no cgroup hierarchy that decides over devices is mounted');
  }
  return roots;
}

/**
 * In a cgroup namespace of our own every path in /proc/PID/cgroup is relative to it, and the host's init lies outside:
 * `/../..`. Throws `Internal` then.
 */
export function refuseOwnNamespace(cgroupsOfInit: string): void {
  if (!cgroupsOfInit.split('\n').some((line) => line.includes(':/..'))) return;
  throw fail(
    'Internal',
    "Cannot find containers: this process must be in the host's cgroup and pid namespaces (privileged and hostPID: true), is in a cgroup namespace of its own",
  );
}
