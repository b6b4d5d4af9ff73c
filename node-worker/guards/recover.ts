import { lockOf, type NodeDependencies } from '../mounts/dependencies.ts';
import { openIfThere } from '../mounts/open-handles.ts';
import { forgetAttach, undoAttach } from '../mounts/take-back.ts';
import { keyOf, type MountRecord } from '../state/mount-record.ts';

/**
 * Undoes each attach that was cut off while this process was away; its workflow tries again, or the healer where the mount was made and
 * its container has restarted. Nothing is given to anybody: what was complete is mended by the healer, and a revocation that was cut
 * off is gone on with by the guard of slaves, once either
 * has seen whether the slaves are well.
 * What cannot be done now is logged and left for the owner's detach, and all are done at once, so that one broken or slow
 * container does not stop the rest.
 */
export async function recover(deps: NodeDependencies): Promise<void> {
  await Promise.all(deps.store.records().map((record) => tryToRecover(deps, record)));
}

async function tryToRecover(deps: NodeDependencies, { mount, signed }: MountRecord): Promise<void> {
  try {
    await deps.locks.run([lockOf(signed.request.target)], async () => {
      const record = deps.store.get(mount);
      if (record?.phase === 'attaching') await recoverOne(deps, record);
    });
  } catch (err) {
    deps.log.error({ err, mount: keyOf(mount) }, 'cannot recover a mount');
  }
}

async function recoverOne(deps: NodeDependencies, record: MountRecord): Promise<void> {
  const handle = await openIfThere(deps, record);
  try {
    if (handle === undefined) await forgetAttach(deps, record);
    else await undoAttach(deps, handle, record);
    deps.log.info({ mount: keyOf(record.mount) }, 'undid an attach that was cut off');
  } finally {
    handle?.close();
  }
}
