import type { V1Pod } from '@kubernetes/client-node';
import type { PodWatch } from './pod-watch.ts';
import { pinnedNodeOf } from './slave-pod.ts';

/** The scheduler tries again what it could not place as soon as a pod has gone, but not within a second of its last try. */
const SETTLE_MS = 2_000;

/** What nodes get back just now, as slaves end: the scheduler may have no device for a slave, and a moment later one. */
export class FreedDevices {
  readonly #slaves: Pick<PodWatch, 'all' | 'subscribe'>;
  /** When a slave on a node was last seen to be gone, by node and resource. */
  readonly #goneAtMs = new Map<string, number>();
  readonly stop: () => void;

  constructor(slaves: Pick<PodWatch, 'all' | 'subscribe'>) {
    this.#slaves = slaves;
    this.stop = slaves.subscribe((now, last) => {
      if (now !== undefined) return;
      const nowMs = Date.now();
      for (const [key, atMs] of this.#goneAtMs) if (nowMs - atMs > SETTLE_MS) this.#goneAtMs.delete(key);
      for (const key of held(last)) this.#goneAtMs.set(key, nowMs);
    });
  }

  /** Whether a slave that has no node may soon get one. */
  mayServe(slave: V1Pod): boolean {
    const node = pinnedNodeOf(slave);
    const wanted = new Set(resourcesOf(slave).map((resource) => `${node} ${resource}`));
    const isFresh = (key: string): boolean => Date.now() - (this.#goneAtMs.get(key) ?? 0) < SETTLE_MS;
    if ([...wanted].some(isFresh)) return true;
    const ending = this.#slaves.all().filter(({ metadata }) => metadata?.deletionTimestamp !== undefined);
    return ending.some((pod) => held(pod).some((key) => wanted.has(key)));
  }
}

function held(pod: V1Pod): readonly string[] {
  const node = pod.spec?.nodeName;
  return node === undefined ? [] : resourcesOf(pod).map((resource) => `${node} ${resource}`);
}

/** Its extended resources; which devices claims stand for is not known here, so that any may serve any. */
function resourcesOf({ spec }: V1Pod): readonly string[] {
  const names = (spec?.containers ?? []).flatMap(({ resources }) => Object.keys(resources?.limits ?? {}));
  const claims = (spec?.resourceClaims ?? []).length > 0 ? ['resourceclaims'] : [];
  return [...names.filter((name) => name.includes('/')), ...claims];
}
