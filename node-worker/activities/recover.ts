import { failureOf } from '../../contract/failures.ts';
import { keyOf, type MountRecord } from '../state/mount-record.ts';
import { lockOf, type NodeDependencies } from './dependencies.ts';
import { grantDevices, revokeDevices } from './grants.ts';

/**
 * Makes containers what their checkpoints say, after this process was away: an attach that was cut off is undone (its
 * workflow tries again), one that was complete is mended. One in a container that is gone is forgotten when it was
 * cut off, else the healer follows the container's restart.
 * What cannot be done now is logged and left for the owner's detach, so that one broken container does not stop the rest.
 */
export async function recover(deps: NodeDependencies): Promise<void> {
  for (const { mount, signed } of deps.store.records()) {
    try {
      await deps.locks.run([lockOf(signed.request.target)], async () => {
        const record = deps.store.get(mount);
        if (record !== undefined && record.phase !== 'revoked') await recoverOne(deps, record);
      });
    } catch (err) {
      deps.log.error({ err, mount: keyOf(mount) }, 'cannot recover a mount');
    }
  }
}

async function recoverOne(deps: NodeDependencies, record: MountRecord): Promise<void> {
  const handle = openIfThere(deps, record);
  if (handle === undefined) {
    if (record.phase === 'attaching') await deps.store.delete(record.mount);
    return;
  }
  try {
    if (record.phase === 'attached') {
      await grantDevices(deps, handle, record);
      return;
    }
    await revokeDevices(deps, handle, record.devices);
    await deps.store.delete(record.mount);
    deps.log.info({ mount: keyOf(record.mount) }, 'undid an attach that was cut off');
  } finally {
    handle.close();
  }
}

function openIfThere({ engine }: NodeDependencies, { containerId }: MountRecord) {
  try {
    return engine.openContainer({ containerId });
  } catch (err) {
    if (failureOf(err)?.type === 'ContainerNotReady') return undefined;
    throw err;
  }
}
