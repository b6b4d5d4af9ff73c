import { hasCondition } from '../../deploy/local/kube-api.ts';
import { DAEMON_SET_NAMESPACES, type DaemonSetName, PLACED, placementLabel } from '../../deploy/local/placement.ts';
import { ask, find, listPath } from './kube.ts';
import { until } from './until.ts';

export const PRODUCT_NAMESPACE = 'device-mounter';

export function namespaceOf(app: string): string {
  return app in DAEMON_SET_NAMESPACES ? DAEMON_SET_NAMESPACES[app as DaemonSetName] : PRODUCT_NAMESPACE;
}

/** Takes the pod of a DaemonSet away from one node, or lets it return, and waits until that is so. */
export async function place(daemonSet: DaemonSetName, node: string, where: 'away' | 'here'): Promise<void> {
  const labels = { [placementLabel(daemonSet)]: where === 'here' ? PLACED : null };
  await ask('PATCH', `/api/v1/nodes/${node}`, { metadata: { labels } });
  if (where === 'here') return daemonPodReady(daemonSet, node);
  await until(
    `the pod of ${daemonSet} on ${node} to be gone`,
    async () => (await podsOf(daemonSet, node)).length === 0,
  );
}

/** Waits until the pod of a DaemonSet on a node is ready, and the only one. */
export async function daemonPodReady(daemonSet: DaemonSetName, node: string): Promise<void> {
  await until(`the pod of ${daemonSet} on ${node} to be ready`, async () => {
    const pods = await podsOf(daemonSet, node);
    return pods.length === 1 && hasCondition(pods[0], 'Ready');
  });
}

export interface ProductPod {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly nodeName?: string };
}

export async function podsOf(app: string, node?: string): Promise<readonly ProductPod[]> {
  const query = {
    labelSelector: `app.kubernetes.io/name=${app}`,
    ...(node !== undefined && { fieldSelector: `spec.nodeName=${node}` }),
  };
  return (await ask<{ items: readonly ProductPod[] }>('GET', listPath(namespaceOf(app), 'pods', query))).items;
}

interface Workload {
  readonly metadata: { readonly generation: number };
  readonly spec: { readonly replicas?: number };
  readonly status: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
    readonly desiredNumberScheduled?: number;
    readonly updatedNumberScheduled?: number;
    readonly numberAvailable?: number;
    readonly numberUnavailable?: number;
  };
}

/** Waits, as `kubectl rollout status` does, until every pod of a workload is of its newest template and available. */
export async function rolledOut(kind: 'deployments' | 'daemonsets', name: string): Promise<void> {
  const path = `/apis/apps/v1/namespaces/${namespaceOf(name)}/${kind}/${name}`;
  await until(`${kind}/${name} to be rolled out`, async () => isRolledOut(await find<Workload>(path)));
}

function isRolledOut(workload: Workload | undefined): boolean {
  if (workload?.status.observedGeneration !== workload?.metadata.generation || workload === undefined) return false;
  const { spec, status } = workload;
  if (status.desiredNumberScheduled !== undefined) {
    const wanted = status.desiredNumberScheduled;
    return status.updatedNumberScheduled === wanted && status.numberAvailable === wanted;
  }
  const counts = [status.replicas, status.updatedReplicas, status.availableReplicas];
  return counts.every((count) => (count ?? 0) === spec.replicas);
}
