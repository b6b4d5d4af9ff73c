import { failureOf } from '../../contract/failures.ts';
import { pause } from '../../process/pause.ts';
import type { Grant } from '../kernel/engine.ts';
import { lockOf, type NodeDependencies } from '../mounts/dependencies.ts';
import { endOfSlaveNow } from '../mounts/ownership.ts';
import type { PlacedContainer } from '../runtime/cri.ts';
import { unsupported } from '../runtime/unsupported.ts';
import type { MountRecord } from '../state/mount-record.ts';
import { grantsOf } from '../state/mount-store.ts';

type Deps = Pick<NodeDependencies, 'containers' | 'engine' | 'store' | 'locks' | 'log' | 'pods'>;

/**
 * Takes rules of ours out of containers of which no checkpoint says that they have them: the checkpoints were lost or damaged,
 * and nobody would take them back when the slave ends. On cgroup v2 our part of a program is marked; on cgroup v1 a rule does
 * not show whose it is, and nothing is found.
 * @throws KubeletUnavailable
 */
export async function takeOrphansBack(deps: Deps): Promise<void> {
  for (const container of await deps.containers.everyRunning()) {
    try {
      // Not under the lock, which a revocation may need while kube-apiserver does not answer.
      if (!(await areWell(deps, heldIn(deps, container.id)))) continue;
      await deps.locks.run([lockOf({ podUid: container.podUid, container: container.name })], () =>
        takeOrphanBack(deps, container),
      );
    } catch (err) {
      // It has ended, or its programs are none that we could have changed.
      const expected = ['ContainerNotReady', 'ContainerUnsupported'].includes(failureOf(err)?.type ?? '');
      deps.log[expected ? 'debug' : 'error']({ err, container: container.id }, 'cannot look for rules of ours');
    }
  }
}

async function takeOrphanBack(deps: Deps, container: PlacedContainer): Promise<void> {
  const { engine, store, log } = deps;
  const { id, pid, spec } = container;
  if (store.later.some(({ containerId }) => containerId === id) || unsupported(container) !== undefined) return;
  // What a mount still has while it is being changed must not be given to it by the way.
  if (heldIn(deps, id).some(({ phase }) => phase !== 'attached')) return;
  const handle = await engine.openContainer({ containerId: id, pid, spec });
  try {
    const nothing: Grant = { owner: 'nobody', containerId: id, devices: [] };
    const { rulesChanged } = await engine.revoke(handle, nothing, grantsOf(store, id));
    if (rulesChanged > 0) log.error({ container: id, rulesChanged }, 'took back rules that no checkpoint accounts for');
  } finally {
    handle.close();
  }
}

function heldIn({ store }: Deps, id: string): readonly MountRecord[] {
  return store.records().filter(({ phase, containerId }) => phase !== 'revoked' && containerId === id);
}

/** What has lost its reservation is for the guard of slaves to take back, and must not be given again before. */
async function areWell(deps: Deps, records: readonly MountRecord[]): Promise<boolean> {
  const slaves = records.flatMap((record) => record.slaves);
  const ends = await Promise.all(slaves.map((slave) => endOfSlaveNow(deps, slave)));
  return ends.every((end) => end === undefined);
}

/** `takeOrphansBack` until the runtime has answered once, or `signal` is aborted. */
export async function takeOrphansBackOnce(deps: Deps, retryMs: number, signal: AbortSignal): Promise<void> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      await takeOrphansBack(deps);
      return;
    } catch (err) {
      if (attempt === 0) deps.log.warn({ err }, 'cannot look for rules that no checkpoint accounts for, trying again');
      await pause(retryMs, signal);
    }
  }
}
