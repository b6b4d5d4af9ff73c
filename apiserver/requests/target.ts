import { fail } from '../../contract/failures.ts';
import type { Target } from '../../contract/requests.ts';

/** What is read of a target pod. */
export interface TargetPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Ordinary containers, in the order of the pod. */
  readonly containers: readonly string[];
  /** Init containers that go on beside them (`restartPolicy: Always`). */
  readonly sidecars: readonly string[];
  /** Of all of these, the ones that run. */
  readonly running: readonly string[];
  readonly annotations: Readonly<Record<string, string>>;
  /** Absent before it is scheduled. */
  readonly node?: string;
  readonly phase?: string;
  /** What the cluster has made of its priority class. */
  readonly priority: number;
  readonly ending: boolean;
}

/** Reads a pod; undefined when there is none. */
export type GetPod = (namespace: string, name: string) => Promise<TargetPod | undefined>;

const DEFAULT_CONTAINER = 'kubectl.kubernetes.io/default-container';

/**
 * The container that a request means: the one it names, the one the pod's annotation names as kubectl does, else the first.
 * @throws BadRequest when the pod has no such container
 */
export function targetOf(pod: TargetPod, container: string | undefined): Target {
  const all = [...pod.containers, ...pod.sidecars];
  const byDefault = all.find((name) => name === pod.annotations[DEFAULT_CONTAINER]) ?? pod.containers[0];
  const chosen = container === undefined ? byDefault : all.find((name) => name === container);
  if (chosen === undefined) {
    const rule = `it must be one of ${all.join(', ')}`;
    throw fail('BadRequest', `Cannot use container "${container}" of pod "${pod.name}": ${rule}`, undefined, [
      { reason: 'FieldValueNotSupported', field: 'container', message: `Unsupported value: "${container}": ${rule}` },
    ]);
  }
  return { namespace: pod.namespace, pod: pod.name, podUid: pod.uid, container: chosen };
}

/** @throws PodNotFound */
export async function getTarget(getPod: GetPod, namespace: string, name: string): Promise<TargetPod> {
  const pod = await getPod(namespace, name);
  if (pod === undefined) throw fail('PodNotFound', `pods "${name}" not found`);
  return pod;
}

/**
 * What a mount would fail with before anything is made, as far as the pod tells.
 * @throws TargetGone, ContainerNotReady
 */
export function checkReady({ name, ending, phase, node, running }: TargetPod, { container }: Target): void {
  const which = `Cannot mount into pod "${name}"`;
  if (ending) throw fail('TargetGone', `${which}: it is being deleted`);
  if (phase === 'Succeeded' || phase === 'Failed') throw fail('TargetGone', `${which}: it has ended (${phase})`);
  if (node === undefined) throw fail('ContainerNotReady', `${which}: it is not scheduled to a node yet`);
  if (!running.includes(container)) throw fail('ContainerNotReady', `${which}: container "${container}" does not run`);
}
