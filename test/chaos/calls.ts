import type { Client } from '@temporalio/client';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { FAILURES, type FailureType } from '../../contract/failures.ts';
import { mountWorkflowId } from '../../contract/names.ts';
import type { KubeAnswer } from '../../deploy/local/kube-api.ts';
import { CLUSTER } from '../e2e/cluster.ts';
import { failureIn } from '../e2e/kube.ts';
import { GROUP } from '../e2e/pods.ts';
import { now } from './clock.ts';
import type { Call, History } from './history.ts';

export const NAMESPACE = 'default';
/** kube-apiserver cuts a request after 60 s. */
const PATIENCE_MS = 65_000;

export interface Wanted {
  readonly pod: string;
  readonly node: string;
  readonly name: string;
  readonly resource: string;
  readonly waitSeconds: number;
  readonly queue: boolean;
  readonly leaseSeconds?: number;
  readonly onRestart: 'reapply' | 'release';
}

/**
 * Failures that say nothing of the mount: somebody was away who would know. A kube-apiserver that has just started refuses
 * requests, or does not know the API yet.
 */
const UNCLEAR: readonly FailureType[] = [
  'TemporalUnavailable',
  'Internal',
  'TooManyRequests',
  'Unauthorized',
  'Forbidden',
  'NotFound',
];

/** Whether an answer tells what has become of the request. */
export function isClear({ status, failure }: Pick<Call, 'status' | 'failure'>): boolean {
  if (status === undefined) return false;
  if (status < 300) return true;
  return failure !== undefined && !UNCLEAR.includes(failure as FailureType);
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
    const query = `device_type=HOSTDEV&wait_second=${waitSeconds}${queue ? '&queue=true' : ''}`;
    const body = {
      name,
      idempotencyKey: name,
      resources: { [resource]: '1' },
      onRestart,
      ...(leaseSeconds !== undefined && { leaseSeconds }),
    };
    return this.#put({ verb, ...placeOf(wanted) }, `pods/${pod}/mount?${query}`, body);
  }

  unmount(wanted: Wanted, force: boolean): Promise<Call> {
    const query = `device_type=HOSTDEV&mount=${wanted.name}&wait_second=30${force ? '&force=1' : ''}`;
    return this.#put({ verb: 'unmount', ...placeOf(wanted), force }, `pods/${wanted.pod}/unmount?${query}`, {});
  }

  /** As an operator does it, past the API. */
  async cancel(wanted: Wanted): Promise<Call> {
    const fromMs = now();
    let message: string | undefined;
    try {
      await this.#temporal.workflow.getHandle(mountWorkflowId(NAMESPACE, wanted.name)).cancel();
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
    what: Pick<Call, 'verb' | 'pod' | 'node' | 'name' | 'resource' | 'force'>,
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

/** What is written down of an answer. */
export function partsOf(answer: KubeAnswer): Partial<Call> {
  const { status, body } = answer;
  if (status >= 300) {
    const failure = typeof body === 'object' && body !== null ? failureIn(answer) : undefined;
    const { message, details } = (body ?? {}) as {
      readonly message?: string;
      readonly details?: { readonly causes?: readonly { readonly reason: string }[] };
    };
    const causes = (details?.causes ?? [])
      .map(({ reason }) => reason)
      .filter((reason) => !Object.hasOwn(FAILURES, reason));
    return { status, ...(failure !== undefined && { failure }), causes, message: message ?? String(body) };
  }
  const { metadata, status: state } = body as Partial<DeviceMount>;
  return {
    status,
    ...(metadata?.uid !== undefined && { uid: metadata.uid }),
    ...(state?.phase !== undefined && { phase: state.phase }),
    ...(state?.leaseEndsAt !== undefined && { leaseEndsAt: state.leaseEndsAt }),
  };
}
