import { randomUUID } from 'node:crypto';
import { expect } from '@jest/globals';
import type { DeviceMountObject } from '../../contract/device-mount-object.ts';
import type { KubeAnswer } from '../../deploy/local/kube-api.ts';
import { type DeviceState, deviceState } from './device-state.ts';
import { inPod } from './exec.ts';
import { ask, listPath } from './kube.ts';
import { NAMESPACE } from './lane.ts';
import { nodeAt } from './nodes.ts';
import { createPod, deletePod, KMSG, mount, mountsPath, type ShownMount, shown, startPod, unmount } from './pods.ts';
import { removeTargets } from './targets.ts';
import { until } from './until.ts';

/** Of each half. Slaves must start and end, two processors' work for minutes: this only ends what hangs. */
export const BURST_TIMEOUT_MS = 600_000;

/** As answers of 503 name it; and between two looks at all mounts, since the list of hundreds keeps kube-apiserver busy. */
const PAUSE_MS = 2_000;

/** Who ask for mounts, each for one after the other. */
const CLIENTS = 50;

/** Mounts of one node's shared device into some pods, begun by all clients at once. */
export class Burst {
  readonly #node = nodeAt(0).name;
  readonly #pods: string[] = [];
  readonly #ofEach: number;
  readonly #targets: number;

  constructor(targets: number, ofEach: number) {
    this.#targets = targets;
    this.#ofEach = ofEach;
  }

  /** Milliseconds until as many bare pods were ready, begun at once: what the cluster itself needs. */
  async barePodsMs(): Promise<number> {
    const names = Array.from({ length: this.#targets * this.#ofEach }, (_, index) => `bare-${index}`);
    const pause = { name: 'main', image: 'localhost/pause:1', imagePullPolicy: 'Never' };
    const started = performance.now();
    await Promise.all(names.map((name) => createPod(name, { nodeName: this.#node, containers: [pause] })));
    const tookMs = performance.now() - started;
    await Promise.all(names.map(deletePod));
    return tookMs;
  }

  /** Mounts and unmounts; each mount must succeed, with a device of its own. Answers the milliseconds until all were mounted. */
  async mountsMs(): Promise<number> {
    const all = this.#targets * this.#ofEach;
    this.#pods.push(...(await Promise.all(Array.from({ length: this.#targets }, () => startPod(this.#node)))));
    const before: readonly DeviceState[] = await Promise.all(this.#pods.map((pod) => deviceState(pod)));
    const started = performance.now();
    await this.#beginAll();
    const mounted = await until('all to be mounted', () => this.#allMounted(all), BURST_TIMEOUT_MS, PAUSE_MS);
    const tookMs = performance.now() - started;
    // Each has a device of its own, and every container the node once.
    expect(new Set(mounted.flatMap(({ status }) => status.devices.map(({ id }) => id))).size).toBe(all);
    for (const pod of this.#pods) expect((await inPod(pod, 'exec 3>/dev/kmsg')).code).toBe(0);
    // 202: it goes on, while the ends of hundreds of mounts keep the machine busy. 404: an earlier request has ended them all.
    for (const pod of this.#pods) {
      const answer = await patiently(`${pod} to be unmounted`, () => unmount(pod, '&wait_second=38'));
      expect([200, 202, 404]).toContain(answer.status);
    }
    await until(
      'all mounts to be released',
      async () => (await this.#mounts()).every(({ status }) => status.phase === 'Released'),
      BURST_TIMEOUT_MS,
      PAUSE_MS,
    );
    expect(await Promise.all(this.#pods.map((pod) => deviceState(pod)))).toEqual(before);
    return tookMs;
  }

  /** Not all requests in flight at once: kube-apiserver itself takes 200 changes at a time, and turns others away. */
  async #beginAll(): Promise<void> {
    const left = this.#pods.flatMap((pod) => Array.from({ length: this.#ofEach }, () => pod));
    const client = async (): Promise<void> => {
      for (let pod = left.pop(); pod !== undefined; pod = left.pop()) await begin(pod);
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
  }

  async #allMounted(count: number): Promise<readonly ShownMount[] | false> {
    const mounts = await this.#mounts();
    const failed = mounts.filter(({ status }) => status.phase === 'Failed');
    expect(failed.map(({ status }) => `${status.reason}: ${status.message}`)).toEqual([]);
    return mounts.filter(({ status }) => status.phase === 'Mounted').length === count && mounts;
  }

  async #mounts(): Promise<readonly ShownMount[]> {
    const { items } = await ask<{ items: readonly DeviceMountObject[] }>('GET', mountsPath());
    return items.filter(({ spec }) => this.#pods.includes(spec.podName)).flatMap((object) => shown(object) ?? []);
  }

  /** Ends everything that there is of it, whatever has happened. */
  async clear(): Promise<void> {
    await removeTargets(this.#pods);
    const { items } = await ask<{ items: { metadata: { name: string } }[] }>('GET', listPath(NAMESPACE, 'pods'));
    await Promise.all(
      items
        .map(({ metadata }) => metadata.name)
        .filter((name) => name.startsWith('bare-'))
        .map(deletePod),
    );
  }
}

async function begin(pod: string): Promise<void> {
  const same = { idempotencyKey: randomUUID() };
  const answer = await patiently(`a mount of ${pod} to begin`, () => mount(pod, KMSG, '&wait_second=0', same));
  expect([200, 202]).toContain(answer.status);
}

/** Asks as a careful client does: after a 503, as of a Temporal that did not answer in time on a busy machine, it asks for the same again. */
function patiently(what: string, request: () => Promise<KubeAnswer>): Promise<KubeAnswer> {
  const answered = async (): Promise<KubeAnswer | false> => {
    const answer = await request();
    return answer.status !== 503 && answer;
  };
  return until(what, answered, BURST_TIMEOUT_MS, PAUSE_MS);
}
