import type { Client } from '@temporalio/client';
import { mountWorkflowId } from '../../contract/names.ts';
import { CLUSTER_NAME } from '../../deploy/local/addresses.ts';
import type { KubeAnswer } from '../../deploy/local/kube-api.ts';
import { CLUSTER } from '../e2e/cluster.ts';
import { GROUP } from '../e2e/pods.ts';
import { now } from './clock.ts';
import type { Call, History } from './history.ts';
import { partsOf } from './parts.ts';
import { RESOURCES, type Resource } from './resources.ts';

export const NAMESPACE = 'default';
/** kube-apiserver cuts a request after 60 s. */
const PATIENCE_MS = 65_000;

export interface Wanted {
  readonly pod: string;
  readonly node: string;
  readonly name: string;
  readonly resource: Resource;
  readonly waitSeconds: number;
  readonly queue: boolean;
  readonly leaseSeconds?: number;
  readonly onRestart: 'reapply' | 'release';
}

/** Requests of clients, each written down with its answer. */
export class Caller {
  readonly #history: History;
  readonly #temporal: Client;

  constructor(history: History, temporal: Client) {
    this.#history = history;
    this.#temporal = temporal;
  }

  /** The same request for the same mount, however often it is made; with another lease it renews. */
  mount(wanted: Wanted, verb: 'mount' | 'renew' = 'mount'): Promise<Call> {
    const { pod, name, resource, waitSeconds, queue, leaseSeconds, onRestart } = wanted;
    const { deviceType, measures } = RESOURCES[resource];
    const query = `device_type=${deviceType}&wait_second=${waitSeconds}${queue ? '&queue=true' : ''}`;
    const body = {
      name,
      idempotencyKey: name,
      resources: { [resource]: '1', ...measures },
      onRestart,
      ...(leaseSeconds !== undefined && { leaseSeconds }),
    };
    return this.#put({ verb, ...placeOf(wanted) }, `pods/${pod}/mount?${query}`, body);
  }

  unmount(wanted: Wanted, force: boolean): Promise<Call> {
    const query = `device_type=${RESOURCES[wanted.resource].deviceType}&mount=${wanted.name}&wait_second=30${force ? '&force=1' : ''}`;
    const leased = wanted.leaseSeconds !== undefined;
    return this.#put({ verb: 'unmount', ...placeOf(wanted), force, leased }, `pods/${wanted.pod}/unmount?${query}`, {});
  }

  /** As an operator does it, past the API. */
  async cancel(wanted: Wanted): Promise<Call> {
    const fromMs = now();
    let message: string | undefined;
    try {
      await this.#temporal.workflow.getHandle(mountWorkflowId(CLUSTER_NAME, NAMESPACE, wanted.name)).cancel();
    } catch (err) {
      message = String(err);
    }
    const status = message === undefined ? 200 : undefined;
    return this.#add({
      type: 'call',
      verb: 'cancel',
      ...placeOf(wanted),
      fromMs,
      toMs: now(),
      ...(status !== undefined && { status }),
      ...(message !== undefined && { message }),
    });
  }

  async #put(
    what: Pick<Call, 'verb' | 'pod' | 'node' | 'name' | 'resource' | 'force' | 'leased'>,
    path: string,
    body: object,
  ): Promise<Call> {
    const fromMs = now();
    let answer: KubeAnswer | undefined;
    let message: string | undefined;
    try {
      answer = await CLUSTER.api.send('PUT', `${GROUP}/namespaces/${NAMESPACE}/${path}`, body, PATIENCE_MS);
    } catch (err) {
      message = String(err);
    }
    const toMs = now();
    return this.#add({
      type: 'call',
      ...what,
      fromMs,
      toMs,
      ...(answer === undefined ? { message } : partsOf(answer)),
    } as Call);
  }

  #add(call: Call): Call {
    this.#history.add(call);
    return call;
  }
}

const placeOf = ({ pod, node, name, resource }: Wanted): Pick<Call, 'pod' | 'node' | 'name' | 'resource'> => {
  return { pod, node, name, resource };
};
