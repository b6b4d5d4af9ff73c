import { z } from 'zod';
import type { RuntimeRule } from '../cgroup/runtime-rule.ts';

/** One of `linux.resources.devices` of the OCI runtime spec: what it leaves out is any. */
const NUMBER = z.preprocess(
  // Runtimes read -1 as any.
  (number) => (number === -1 || number === null || number === undefined ? '*' : number),
  z.number().int().nonnegative().or(z.literal('*')),
);
const RULE = z.object({
  allow: z.boolean().default(false),
  type: z.enum(['a', 'b', 'c']).default('a'),
  major: NUMBER,
  minor: NUMBER,
  access: z
    .string()
    .regex(/^[rwm]*$/)
    .default(''),
});
const SPEC = z.object({ linux: z.object({ resources: z.object({ devices: z.array(RULE) }) }) });

/** `info` of ContainerStatus with verbose; containerd and CRI-O. */
const INFO = z.object({
  pid: z.number().int().positive(),
  runtimeType: z.string().optional(),
  // Needed on few kernels only, and proved there: not to understand it is no failure.
  runtimeSpec: SPEC.optional().catch(undefined),
});

/** As `RuntimeContainer` has it. */
interface ContainerInfo {
  readonly pid: number;
  readonly runtimeType: string | undefined;
  readonly spec: readonly RuntimeRule[] | undefined;
}

/** Reads `info` of a verbose ContainerStatus. Throws when it lacks the pid. */
export function parseContainerInfo(text: string): ContainerInfo {
  const { pid, runtimeType, runtimeSpec } = INFO.parse(JSON.parse(text));
  return { pid, runtimeType, spec: runtimeSpec?.linux.resources.devices };
}
