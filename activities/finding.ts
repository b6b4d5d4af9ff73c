import type { SlaveRef } from '../contract/device-mount.ts';
import type { Target } from '../contract/requests.ts';
import type { ReconcileFinding } from '../contract/workflows.ts';
import type { Adoption } from './adopt-mount.ts';

/** A finding with what it takes to act on it. */
export type Finding = Omit<ReconcileFinding, 'slaves'> & {
  readonly slaves: readonly SlaveRef[];
  readonly target: Target;
  /** Where the slaves are; absent before they are scheduled. */
  readonly node?: string;
  /** To `adopt` with. */
  readonly adoption?: Adoption;
  /** Of what is to be `free`d, for the target, when its slaves carry a request that was signed. */
  readonly orphan?: Adoption;
  /** To `tell`, or to have it `project`ed by its owner, and what it brings. */
  readonly signal?: string;
  readonly args?: readonly string[];
};

/** Of something that is left alone because it cannot be looked at. */
export function unknown({ namespace, ...about }: Pick<Finding, 'namespace' | 'mount' | 'why'>): Finding {
  const target = { namespace, pod: '', podUid: '', container: '' };
  return { namespace, ...about, action: 'keep', slaves: [], target };
}
