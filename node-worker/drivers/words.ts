import { fail } from '../../contract/failures.ts';
import type { Finding } from './driver.ts';

/** Longest value that is told in a message, and that is looked at. */
const SHOWN = 100;
const LONGEST = 16_384;

interface Form {
  /** Of the whole value. It must not backtrack: a tenant may have written the value. */
  readonly pattern: RegExp;
  /** What is expected, for people: `GPUs such as "GPU-1,NVIDIA,100:"`. */
  readonly what: string;
}

/**
 * What an annotation or label of a slave says, if it has it.
 * @throws NotAllocated when it has another form
 */
export function wordOf(
  { slave, words = {} }: Finding,
  key: string,
  { pattern, what }: Form,
): RegExpExecArray | undefined {
  if (!Object.hasOwn(words, key)) return undefined;
  const value = words[key] ?? '';
  const found = value.length > LONGEST ? null : pattern.exec(value);
  if (found !== null && found[0] === value) return found;
  const shown = JSON.stringify(value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value);
  throw fail('NotAllocated', `Cannot attach what "${slave.name}" has: its "${key}" must be ${what}, is ${shown}`);
}
