import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseProcessCgroups } from '../cgroup/path.ts';
import { type Answers, nodeName, type Question } from './ask-steps.ts';
import { ATTACH, attachedPrograms, attachProgram, withProgram } from './bpf.ts';
import type { CgroupRoots } from './cgroup-roots.ts';
import { readDeviceListText } from './cgroup-v1.ts';
import { withCgroup } from './cgroup-v2.ts';
import type { OpenContainer } from './container.ts';
import { S_IFBLK, S_IFCHR } from './device-at.ts';
import { makedev } from './device-number.ts';
import type { DeviceId } from './engine.ts';
import { hasCode, syscall } from './syscall.ts';

/** What decides over the devices of a process now, in every hierarchy of the machine that can. */
export interface Deciding {
  /** v2: the programs of its cgroup and of those above it, by id. */
  readonly programs?: readonly number[];
  /** v1: the lines of its `devices.list`, sorted. */
  readonly list?: readonly string[];
}

/** Also the beginning of what a killed process leaves behind; its process id follows. */
const NAME = 'device-mounter-inspect-';
const CHILD = fileURLToPath(new URL('./ask-child.ts', import.meta.url));
const CHILD_TIMEOUT_MS = 60_000;
const AT_FDCWD = -100;
/** `devices.list` of a cgroup that refuses nothing, or only what it does not list. */
const ALL = 'a *:* rwm';

export function decidingOver({ pid }: Pick<OpenContainer, 'pid'>, roots: CgroupRoots): Deciding {
  const paths = parseProcessCgroups(readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
  const { v1Devices, v2 } = roots;
  return {
    ...(v2 !== undefined && paths.v2 !== undefined && { programs: programsAt(v2 + paths.v2) }),
    ...(v1Devices !== undefined && paths.v1Devices !== undefined && { list: listAt(v1Devices + paths.v1Devices) }),
  };
}

const programsAt = (cgroup: string): readonly number[] =>
  [...new Set(withCgroup(cgroup, (fd) => attachedPrograms(fd, true)).ids)].sort((a, b) => a - b);

const listAt = (cgroup: string): readonly string[] => readDeviceListText(cgroup).split('\n').filter(Boolean).sort();

/**
 * What the kernel answers to a process under `deciding`, for each device: any of r, w, m. Nothing of the container takes
 * part: a process of ours asks in cgroups of ours, which get the very same programs and the same list. It asks by
 * access(2) and mknod(2), where the device policy decides too (fs/namei.c, `inode_permission` and `vfs_mknod`), so that no
 * driver ever sees an open. BPF_PROG_TEST_RUN does not know device programs (Linux 6.18: ENOTSUPP).
 * Throws `SyscallError` and Error where such cgroups or nodes cannot be made.
 */
export function askKernel(deciding: Deciding, roots: CgroupRoots, devices: readonly DeviceId[]): readonly string[] {
  const directory = mkdtempSync(join(tmpdir(), NAME));
  const cgroups: string[] = [];
  const make = (root: string): string => {
    removeLeftovers(root);
    const cgroup = join(root, `${NAME}${process.pid}`);
    mkdirSync(cgroup);
    cgroups.push(cgroup);
    return cgroup;
  };
  try {
    devices.forEach((device, index) => makeNode(join(directory, nodeName(index)), device));
    if (deciding.programs !== undefined && roots.v2 !== undefined) copyPrograms(make(roots.v2), deciding.programs);
    if (deciding.list !== undefined && roots.v1Devices !== undefined) copyList(make(roots.v1Devices), deciding.list);
    return answersOf({ directory, cgroups, devices });
  } finally {
    for (const cgroup of cgroups) rmdirSync(cgroup);
    rmSync(directory, { recursive: true });
  }
}

function makeNode(path: string, { type, major, minor }: DeviceId): void {
  const kind = type === 'c' ? S_IFCHR : S_IFBLK;
  syscall('mknodat', [AT_FDCWD, path, kind | 0o600, makedev(major, minor)], path);
}

/** Attaches the same objects, not copies of them: one program may be attached to any number of cgroups. */
function copyPrograms(cgroup: string, programs: readonly number[]): void {
  withCgroup(cgroup, (cgroupFd) => {
    const above = attachedPrograms(cgroupFd, true).ids;
    for (const id of programs.filter((one) => !above.includes(one))) {
      withProgram(id, (fd) => attachProgram(cgroupFd, fd, ATTACH.multi));
    }
  });
  requireEqual('programs', programsAt(cgroup), programs);
}

/** A new cgroup has its parent's list, and the root's allows everything. One line per write(2), as the kernel reads one. */
function copyList(cgroup: string, list: readonly string[]): void {
  if (!list.includes(ALL)) {
    writeFileSync(join(cgroup, 'devices.deny'), 'a');
    for (const line of list) writeFileSync(join(cgroup, 'devices.allow'), line);
  }
  requireEqual('devices.list', listAt(cgroup), list);
}

function requireEqual(what: string, made: readonly (string | number)[], wanted: readonly (string | number)[]): void {
  if (made.join() === wanted.join()) return;
  throw new Error(`Cannot ask the kernel: ${what} of a cgroup of ours must be ${wanted.join()}, are ${made.join()}`);
}

function answersOf(question: Question): Answers {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, ['--no-warnings', CHILD], {
    input: JSON.stringify(question),
    encoding: 'utf8',
    timeout: CHILD_TIMEOUT_MS,
  });
  if (status === 0) return JSON.parse(stdout) as Answers;
  throw new Error(`Cannot ask the kernel: ${error?.message ?? stderr.trim()}`);
}

/** Cgroups of processes that were killed in the middle of this. */
function removeLeftovers(root: string): void {
  for (const name of readdirSync(root).filter((one) => one.startsWith(NAME))) {
    try {
      if (!lives(Number(name.slice(NAME.length)))) rmdirSync(join(root, name));
    } catch (err) {
      // Another process removes it too, or its child still asks.
      if (!hasCode(err, 'ENOENT', 'EBUSY')) throw err;
    }
  }
}

function lives(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return !hasCode(err, 'ESRCH');
  }
}
