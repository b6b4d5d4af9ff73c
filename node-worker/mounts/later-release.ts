import { fail } from '../../contract/failures.ts';
import type { MountRef } from '../../contract/node-activities.ts';
import { keyOf } from '../state/mount-record.ts';
import type { MountStore } from '../state/mount-store.ts';

/**
 * After a step back to this release, checkpoints of a later one may be there. What they hold is neither given, taken nor
 * replaced: this release would do it wrongly.
 */

/** @throws Internal, to be tried again: the later release may come back */
export function refuseMountsOfLater({ later }: Pick<MountStore, 'later'>, mounts: readonly MountRef[]): void {
  const found = later.find(({ mount }) => mounts.some((one) => keyOf(one) === keyOf(mount)));
  if (found === undefined) return;
  throw fail('Internal', `Cannot change mount "${found.mount.name}": a later release of the node worker has made it`);
}

/** @throws Internal, to be tried again */
export function refuseContainersOfLater({ later }: Pick<MountStore, 'later'>, containerId: string): void {
  const found = later.find((record) => record.containerId === containerId);
  if (found === undefined) return;
  throw fail(
    'Internal',
    `Cannot change container "${containerId}": a later release of the node worker has made mount "${found.mount.name}" in it`,
  );
}
