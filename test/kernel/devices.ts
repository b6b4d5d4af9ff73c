import { readFileSync } from 'node:fs';
import { ALU, CLASS, type Instruction, JUMP, type Program } from '../../node-worker/cgroup/instruction.ts';
import { attachedPrograms, type ProgramInfo, programInfo, withProgram } from '../../node-worker/kernel/bpf.ts';
import { cgroupTree } from '../../node-worker/kernel/cgroup-tree.ts';
import { withCgroup } from '../../node-worker/kernel/cgroup-v2.ts';
import type { DeviceNode } from '../../node-worker/kernel/engine.ts';

/** Devices every Linux machine has and that may be opened without harm. */
export const FUSE: DeviceNode = {
  path: '/dev/fuse',
  type: 'c',
  major: 10,
  minor: 229,
  access: 'rw',
  mode: 0o666,
  uid: 0,
  gid: 0,
};
/** No driver: an open that is allowed ends in ENXIO. */
export const CARD: DeviceNode = { ...FUSE, path: '/dev/dri/card0', major: 226, minor: 0, access: 'rwm', mode: 0o660 };

/** Of a container: where its device policy is. */
interface Policed {
  readonly cgroup: string;
  readonly cgroupVersion: 1 | 2;
}

/** The kernel's own words for a container's device policy: the sorted v1 list, or the tags of its programs. */
export function policyOf({ cgroup, cgroupVersion }: Policed): readonly string[] {
  if (cgroupVersion === 1) return readFileSync(`${cgroup}/devices.list`, 'utf8').split('\n').filter(Boolean).sort();
  return programsOf({ cgroup }).map(({ tag }) => tag);
}

/** Device programs of a container: those attached to its cgroup, then those below, where its init is. */
export function programsOf({ cgroup }: Pick<Policed, 'cgroup'>): readonly ProgramInfo[] {
  return cgroupTree(cgroup)
    .flatMap((path) => withCgroup(path, (fd) => attachedPrograms(fd)).ids)
    .map((id) => withProgram(id, programInfo));
}

/** Polls a condition of the kernel's, which nothing announces. Throws with the last value after five minutes: a machine may be slow. */
export async function until<T>(look: () => T | Promise<T>, holds: (value: T) => boolean): Promise<T> {
  const end = performance.now() + 300_000;
  for (;;) {
    const value = await look();
    if (holds(value)) return value;
    if (performance.now() > end) throw new Error(`waited five minutes in vain, last: ${JSON.stringify(value)}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}

const op = (code: number, dst: number, src: number, off: number, imm: number): Instruction => ({
  code,
  dst,
  src,
  off,
  imm,
});
const EXIT = op(CLASS.JMP | JUMP.EXIT, 0, 0, 0, 0);
/** Allows every device, as the program of a privileged container does. */
export const ALLOW_ALL: Program = [op(CLASS.ALU64 | ALU.MOV, 0, 0, 0, 1), EXIT];
/** Allows every device but FUSE. */
export const DENY_FUSE: Program = [
  op(CLASS.LDX | 0x60, 2, 1, 4, 0), // r2 = major
  op(CLASS.LDX | 0x60, 3, 1, 8, 0), // r3 = minor
  op(CLASS.ALU64 | ALU.MOV, 0, 0, 0, 1),
  op(CLASS.JMP | JUMP.JNE, 2, 0, 2, FUSE.major),
  op(CLASS.JMP | JUMP.JNE, 3, 0, 1, FUSE.minor),
  op(CLASS.ALU64 | ALU.MOV, 0, 0, 0, 0),
  EXIT,
];
