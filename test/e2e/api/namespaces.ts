import { CLUSTER, NODES, restartTemporal } from '../cluster.ts';
import { PRODUCT_NAMESPACE, place, podsOf, rolledOut } from '../daemon-sets.ts';
import { ask, find, remove } from '../kube.ts';
import { createPod, FUSE, podPath } from '../pods.ts';
import { until } from '../until.ts';
import { ROOT } from './direct.ts';

export const pathOf = (namespace: string): string => `/api/v1/namespaces/${namespace}`;

export async function createNamespace(name: string): Promise<void> {
  await ask('POST', '/api/v1/namespaces', { metadata: { name } });
}

export const deleteNamespace = (name: string): Promise<void> => remove(pathOf(name));

export const namespaceGone = (name: string, timeoutMs?: number) =>
  until(`namespace ${name} to be gone`, async () => (await find(pathOf(name))) === undefined, timeoutMs);

export async function scale(deployment: string, replicas: number): Promise<void> {
  const path = `/apis/apps/v1/namespaces/${PRODUCT_NAMESPACE}/deployments/${deployment}`;
  await ask('PATCH', `${path}/scale`, { spec: { replicas } });
  if (replicas > 0) return rolledOut('deployments', deployment);
  // They are not asked to end well.
  for (const { metadata } of await podsOf(deployment))
    await remove(`${podPath(metadata.name, PRODUCT_NAMESPACE)}?gracePeriodSeconds=0`);
  await until(`${deployment} to be gone`, async () => (await podsOf(deployment)).length === 0);
}

/** A pod with a mounted device in a namespace. */
export async function mountIn(namespace: string): Promise<void> {
  const name = 'target';
  await until(
    'its service account',
    async () => (await find(`${pathOf(namespace)}/serviceaccounts/default`)) !== undefined,
  );
  await createPod(name, { nodeName: NODES[0]?.name }, namespace);
  const path = `${ROOT}/namespaces/${namespace}/pods/${name}/mount?device_type=HOSTDEV&wait_second=30`;
  await ask('PUT', path, { resources: { [FUSE]: '1' } });
}

const placeNodeWorkers = (where: 'away' | 'here'): Promise<unknown> =>
  Promise.all(NODES.map(({ name }) => place('device-mounter-node', name, where)));

/** Ends all that mounts and unmounts, and keeps it from returning: Temporal, the control workers, the node workers. */
export async function takeEverythingDown(): Promise<void> {
  await CLUSTER.servers.temporal.stop('SIGKILL');
  await Promise.all([scale('device-mounter-control', 0), placeNodeWorkers('away')]);
}

/** Each part even if another fails: all tests after this one need them. */
export async function bringEverythingBack(): Promise<void> {
  const parts = [restartTemporal(), scale('device-mounter-control', 2), placeNodeWorkers('here')];
  for (const back of await Promise.allSettled(parts)) if (back.status === 'rejected') throw back.reason;
}
