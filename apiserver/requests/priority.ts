import type { FailureCause } from '../../contract/failures.ts';
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
  const asked = patches.flatMap(({ op, path, value }, index) =>
    path === PRIORITY_CLASS && op !== 'test' && typeof value === 'string' ? [{ index, value }] : [],
  );
  const names = new Set(asked.map(({ value }) => value));
  const found = new Map(await Promise.all([...names].map(async (name) => [name, await getPriority(name)] as const)));
  return asked.flatMap(({ index, value }): readonly FailureCause[] => {
    const field = `patches[${index}].value`;
    const shown = JSON.stringify(value);
    const priority = found.get(value);
    if (priority === undefined) {
      const message = `Invalid value: ${shown}: there is no priority class of this name`;
      return [{ reason: 'FieldValueInvalid', field, message }];
    }
    if (priority <= target.priority) return [];
    const rule = `its priority must not be above the target's ${target.priority}, is ${priority}`;
    return [{ reason: 'FieldValueForbidden', field, message: `Forbidden: ${shown}: ${rule}` }];
  });
}
