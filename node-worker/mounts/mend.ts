import type { MountRef } from '../../contract/node-activities.ts';
import type { ContainerHandle } from '../kernel/engine.ts';
import { keyOf, type MountRecord } from '../state/mount-record.ts';
import { grantsOf } from '../state/mount-store.ts';
import type { NodeDependencies } from './dependencies.ts';
import { grantDevices } from './grants.ts';

/** A mount that had lost something, and what, for people. */
export interface Mended {
  readonly mount: MountRef;
  readonly what: string;
}

/**
 * Gives back what the mounts of a container have lost, those whose slaves are seen and well: nobody else has a right to it. One that cannot be mended, for example because the container has put
 * something else in the place of its node, does not keep the others from it. The lock of the container is held.
 */
export async function mend(
  deps: Pick<NodeDependencies, 'engine' | 'store' | 'metrics' | 'log' | 'endOfSlave' | 'slaveRuns'>,
  handle: ContainerHandle,
): Promise<{ readonly mended: readonly Mended[]; readonly failures: readonly unknown[] }> {
  const isWell = (uid: string): boolean => deps.slaveRuns(uid) !== undefined && deps.endOfSlave(uid) === undefined;
  const drifted: MountRecord[] = [];
  for (const record of deps.store.records()) {
    if (record.phase !== 'attached' || record.containerId !== handle.containerId) continue;
    if (!record.slaves.every(({ uid }) => isWell(uid))) continue;
    const grants = record.devices.map(({ grant }) => grant);
    const others = grantsOf(deps.store, handle.containerId).filter((grant) => !grants.includes(grant));
    if (await deps.engine.drifted(handle, grants, others)) drifted.push(record);
  }
  let rulesChanged = 0;
  let limitsSet = false;
  const mended: Mended[] = [];
  const failures: unknown[] = [];
  for (const record of drifted) {
    const report = await grantDevices(deps, handle, record).catch((err: unknown) => void failures.push(err));
    if (report === undefined) continue;
    // The rules of all mounts of a container are one program, and their limits are in one file: the first mend gives them back to all.
    rulesChanged += report.rulesChanged;
    limitsSet ||= report.limitsSet === true;
    const what = [
      ...(rulesChanged > 0 ? ['device rules'] : []),
      ...report.nodesMade,
      ...(report.filesMade ?? []),
      ...(limitsSet ? ['limits'] : []),
    ].join(', ');
    deps.metrics.heals.inc();
    deps.log.warn({ mount: keyOf(record.mount), what }, 'mended what somebody had taken away');
    mended.push({ mount: record.mount, what });
  }
  return { mended, failures };
}
