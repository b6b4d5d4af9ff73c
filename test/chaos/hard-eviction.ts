import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodePaths } from '../../deploy/local/node/paths.ts';
import { CLUSTER } from '../e2e/cluster.ts';
import { until } from '../e2e/until.ts';
import { NAMESPACE } from './calls.ts';

const LIMIT_BYTES = 4 * 1024 * 1024;
const LIMITS = `/api/v1/namespaces/${NAMESPACE}/limitranges`;
const NAME = 'chaos';

/** Limits the local storage of each container of the namespace: who exceeds it is evicted at once, without the pod's grace period. */
export async function limitStorage(): Promise<void> {
  const limit = { type: 'Container', default: { 'ephemeral-storage': String(LIMIT_BYTES) } };
  await until('local storage to be limited', async () => {
    const { status } = await CLUSTER.api.send('POST', LIMITS, { metadata: { name: NAME }, spec: { limits: [limit] } });
    return status === 201 || status === 409;
  });
}

export async function unlimitStorage(): Promise<void> {
  await until('local storage to be unlimited', async () => {
    const { status } = await CLUSTER.api.send('DELETE', `${LIMITS}/${NAME}`);
    return status === 200 || status === 404;
  });
}

/** Fills the folder of a pod's logs, which count as its own use. The kubelet looks every ten seconds or so. Throws when there are none. */
export function exceedStorage(pod: { readonly name: string; readonly uid: string }, node: string): void {
  const { root } = nodePaths(CLUSTER.paths, node);
  const logs = join(root, 'log-pods', `${NAMESPACE}_${pod.name}_${pod.uid}`);
  for (const container of readdirSync(logs))
    writeFileSync(join(logs, container, 'filler'), Buffer.alloc(2 * LIMIT_BYTES));
}
