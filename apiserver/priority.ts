import type { FailureCause } from '../contract/failures.ts';
import { PRIORITY_CLASS } from './patches.ts';
import type { TargetPod } from './target.ts';

/** The value of a priority class; undefined when there is none of the name. */
export type GetPriority = (name: string) => Promise<number | undefined>;

interface Patch {
  readonly op: string;
  readonly path: string;
  readonly value?: unknown;
}

/**
 * Patches that would make a pod more important than its target: it could push others off the node that the user may not. The operations are
 * allowed ones already.
 */
export async function priorityProblems(
  getPriority: GetPriority,
  target: TargetPod,
  patches: readonly Patch[],
): Promise<readonly FailureCause[]> {
  const problems: FailureCause[] = [];
  for (const [index, { op, path, value }] of patches.entries()) {
    if (path !== PRIORITY_CLASS || op === 'test' || typeof value !== 'string') continue;
    const field = `patches[${index}].value`;
    const shown = JSON.stringify(value);
    const priority = await getPriority(value);
    if (priority === undefined) {
      problems.push({
        reason: 'FieldValueInvalid',
        field,
        message: `Invalid value: ${shown}: there is no priority class of this name`,
      });
    } else if (priority > target.priority) {
      const rule = `its priority must not be above the target's ${target.priority}, is ${priority}`;
      problems.push({ reason: 'FieldValueForbidden', field, message: `Forbidden: ${shown}: ${rule}` });
    }
  }
  return problems;
}
