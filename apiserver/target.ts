import { fail } from '../contract/failures.ts';
import type { Target } from '../contract/requests.ts';

/** What is read of a target pod. */
export interface TargetPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Ordinary containers, in the order of the pod. */
  readonly containers: readonly string[];
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
  const named = container ?? pod.annotations[DEFAULT_CONTAINER];
  const chosen = named === undefined ? pod.containers[0] : pod.containers.find((name) => name === named);
  if (chosen === undefined) {
    const rule = `it must be one of ${pod.containers.join(', ')}`;
    throw fail('BadRequest', `Cannot use container "${named}" of pod "${pod.name}": ${rule}`, undefined, [
      { reason: 'FieldValueNotSupported', field: 'container', message: `Unsupported value: "${named}": ${rule}` },
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
