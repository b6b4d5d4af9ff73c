import { randomBytes } from 'node:crypto';
import { hasCondition } from '../../deploy/local/kube-api.ts';
import { containerPid } from '../e2e/device-state.ts';
import { ask, find } from '../e2e/kube.ts';
import { deletePod, PODS, podPath } from '../e2e/pods.ts';
import { until } from '../e2e/until.ts';
import { timed } from './figure.ts';
import { nsenter } from './nsenter.ts';
import { originalSlave } from './original-slave.ts';

const POLL_MS = 100;

/**
 * Milliseconds that a mount takes by the steps of the original device-mounter: create the slave, ask every 100 ms until it is Ready, make the
 * node with `nsenter`. What it does besides (finding the container, device rules) is left out, in its favour.
 */
export async function mountAsOriginal(node: string, target: string): Promise<number> {
  const name = `original-${randomBytes(4).toString('hex')}`;
  const pid = await containerPid(target);
  const took = await timed(async () => {
    await ask('POST', PODS, { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: originalSlave(node) });
    await until(`${name} to be ready`, async () => hasCondition(await find(podPath(name)), 'Ready'), 60_000, POLL_MS);
    nsenter(pid, 'mknod -m 666 /dev/fuse c 10 229');
  });
  nsenter(pid, 'rm /dev/fuse');
  await deletePod(name);
  return took;
}
