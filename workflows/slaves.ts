import type { DeviceMount, SlaveRef } from '../contract/device-mount.ts';
import type { UnmountInput } from '../contract/workflows.ts';
import { deleteSlave } from './activities.ts';

/** A slave pod, and for whom it was made. */
export interface MadeSlave {
  readonly namespace: string;
  readonly name: string;
  readonly mount: string;
  readonly targetUid: string;
  /** Needed from others than the owner, as long as the mount has one. */
  readonly signed?: UnmountInput;
}

/** Slaves with whom they were made for. */
export function madeSlaves(
  slaves: readonly SlaveRef[],
  whom: Pick<MadeSlave, 'mount' | 'targetUid' | 'signed'>,
): readonly MadeSlave[] {
  return slaves.map(({ namespace, name }) => ({ namespace, name, ...whom }));
}

/** All that a mount has. */
export function slavesOf({ metadata, spec, status }: DeviceMount, signed?: UnmountInput): readonly MadeSlave[] {
  const whom = { mount: metadata.name, targetUid: spec.podUid, ...(signed !== undefined && { signed }) };
  return madeSlaves(status.slaves, whom);
}

/** Deletes slaves, all at once, and waits until they are gone. */
export async function deleteSlaves(slaves: readonly MadeSlave[]): Promise<void> {
  await Promise.all(
    slaves.map((slave) => deleteSlave.executeWithOptions({ summary: `delete slave ${slave.name}` }, [slave])),
  );
}
