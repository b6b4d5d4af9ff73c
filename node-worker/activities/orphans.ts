import { failureOf } from '../../contract/failures.ts';
import { pause } from '../../process/pause.ts';
import type { Grant } from '../kernel/engine.ts';
import type { PlacedContainer } from '../runtime/cri.ts';
import { ownKernelOf } from '../runtime/shared-kernel.ts';
import { lockOf, type NodeDependencies } from './dependencies.ts';

type Deps = Pick<NodeDependencies, 'containers' | 'engine' | 'store' | 'locks' | 'log'>;

/**
 * Takes rules of ours out of containers of which no checkpoint says that they have any: the checkpoints were lost or damaged,
 * and nobody would take them back when the slave ends. On cgroup v2 our part of a program is marked; on cgroup v1 a rule does
 * not show whose it is, and nothing is found.
 * @throws KubeletUnavailable
 */
export async function takeOrphansBack(deps: Deps): Promise<void> {
  for (const container of await deps.containers.everyRunning()) {
    try {
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

async function takeOrphanBack({ engine, store, log }: Deps, container: PlacedContainer): Promise<void> {
  const { id, pid, spec } = container;
  const isHeld =
    store.records().some(({ phase, containerId }) => phase !== 'revoked' && containerId === id) ||
    store.later.some(({ containerId }) => containerId === id);
  if (isHeld || ownKernelOf(container) !== undefined) return;
  const handle = engine.openContainer({ containerId: id, pid, spec });
  try {
    const nothing: Grant = { owner: 'nobody', containerId: id, devices: [] };
    const { rulesChanged } = await engine.revoke(handle, nothing, []);
    if (rulesChanged > 0) log.error({ container: id, rulesChanged }, 'took back rules that no checkpoint accounts for');
  } finally {
    handle.close();
  }
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
