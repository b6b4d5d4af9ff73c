import type { Program } from '../cgroup/instruction.ts';

/** A program that was read once, and what it answers: access bits by `deviceKey`. */
export interface KnownProgram {
  readonly program: Program;
  readonly answers: Map<string, number>;
}

/** A loaded program never changes, and its id comes again only after 2,147,483,647 others (kernel/bpf/syscall.c). */
const known = new Map<number, KnownProgram>();
const MAX_KNOWN = 2_048;

/** The program of this id, read the first time only: containers are looked at every second, and nothing is new then. */
export function knownProgram(id: number, read: () => Program): KnownProgram {
  const found = known.get(id);
  if (found !== undefined) return found;
  const one = { program: read(), answers: new Map<string, number>() };
  const [oldest] = known.keys();
  if (known.size >= MAX_KNOWN && oldest !== undefined) known.delete(oldest);
  known.set(id, one);
  return one;
}

/** As a process that has just started. */
export function forgetKnown(): void {
  known.clear();
}
