import { setTimeout as delay } from 'node:timers/promises';
import type { KubeAnswer } from '../../deploy/local/kube-api.ts';

/** One request to kube-apiserver, by whoever may read, change and bind pods. */
export type Send = (method: string, path: string, body?: unknown) => Promise<KubeAnswer>;

/** What doubles of schedulers and device plugins look at. */
export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly schedulerName?: string;
    readonly nodeName?: string;
    readonly affinity?: unknown;
    readonly containers: readonly {
      readonly name: string;
      readonly resources?: { readonly limits?: Readonly<Record<string, string>> };
    }[];
  };
  readonly status?: { readonly phase?: string };
}

/** Annotations that tell the device plugin what a pod gets, or for people, why it gets nothing; undefined for a pod of somebody else's. */
export type Choice = Readonly<Record<string, string>> | string | undefined;

interface Place {
  readonly node: string;
  readonly namespace: string;
}

const EVERY_MS = 100;

/**
 * Does with the pods of one namespace that name the scheduler `volcano` as that does, as far as they can tell: it writes on a pod what
 * it has chosen, and binds it to the node after that (volcano, pkg/scheduler/api/devices). What it chooses is up to `choose`, which
 * is told the other pods of the namespace, too.
 */
export class VolcanoScheduler {
  readonly #place: Place;
  readonly #send: Send;
  readonly #choose: (pod: Pod, others: readonly Pod[]) => Choice;
  readonly #stop = new AbortController();
  /** By the UID of the pod: what it was told last. */
  readonly #refused = new Map<string, string>();
  #running: Promise<void> = Promise.resolve();

  constructor(place: Place, send: Send, choose: (pod: Pod, others: readonly Pod[]) => Choice) {
    this.#place = place;
    this.#send = send;
    this.#choose = choose;
  }

  start(): void {
    this.#running = this.#run();
    // Told by `close`.
    this.#running.catch(() => undefined);
  }

  /** Also of one that has not started. Rejects with what has ended it before. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#scheduleOne();
      await delay(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One at a time: each counts what those before it have got. */
  async #scheduleOne(): Promise<void> {
    const pods = await podsIn(this.#place.namespace, this.#send);
    for (const pod of pods.filter((one) => isWaitingFor(this.#place.node, one))) {
      const { uid } = pod.metadata;
      const others = pods.filter(({ metadata }) => metadata.uid !== uid);
      const choice = this.#choose(pod, others);
      if (choice === undefined || this.#refused.get(uid) === choice) continue;
      return this.#schedule(pod, choice);
    }
  }

  async #schedule({ metadata: { name, uid } }: Pod, choice: NonNullable<Choice>): Promise<void> {
    const path = `/api/v1/namespaces/${this.#place.namespace}/pods/${name}`;
    if (typeof choice === 'string') {
      this.#refused.set(uid, choice);
      const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: choice };
      await this.#ask('PATCH', `${path}/status`, { status: { conditions: [condition] } });
      return;
    }
    await this.#ask('PATCH', path, { metadata: { annotations: choice } });
    await this.#ask('POST', `${path}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name },
      target: { apiVersion: 'v1', kind: 'Node', name: this.#place.node },
    });
  }

  /** A pod may go meanwhile. */
  async #ask(method: string, path: string, body: unknown): Promise<void> {
    const { status, body: answer } = await this.#send(method, path, body);
    if (status >= 300 && status !== 404 && status !== 409)
      throw new Error(`${method} ${path} was answered with ${status}: ${JSON.stringify(answer)}`);
  }
}

export async function podsIn(namespace: string, send: Send): Promise<readonly Pod[]> {
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const { status, body } = await send('GET', path);
  if (status !== 200) throw new Error(`GET ${path} was answered with ${status}: ${JSON.stringify(body)}`);
  return (body as { readonly items: readonly Pod[] }).items;
}

/** Slaves have a node affinity that names the one node for them. */
const isWaitingFor = (node: string, { spec }: Pod): boolean =>
  spec.schedulerName === 'volcano' &&
  spec.nodeName === undefined &&
  JSON.stringify(spec.affinity ?? node).includes(`"${node}"`);

/** What the containers of a pod ask for of a resource. */
export const limitOf = ({ spec }: Pod, resource: string): number =>
  spec.containers.reduce((sum, container) => sum + limitIn(container, resource), 0);

export const limitIn = ({ resources }: Pod['spec']['containers'][number], resource: string): number =>
  quantityOf(resources?.limits?.[resource] ?? '0');

/** kube-apiserver writes 2000 as `2k`. */
function quantityOf(text: string): number {
  const [, digits, thousand] = /^(\d+)(k?)$/.exec(text) ?? [];
  if (digits === undefined) throw new Error(`Cannot read quantity "${text}": it must be digits, perhaps with a k`);
  return Number(digits) * (thousand === 'k' ? 1_000 : 1);
}

/** Whether it still has what it was given. */
export const hasEnded = ({ status }: Pod): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';
