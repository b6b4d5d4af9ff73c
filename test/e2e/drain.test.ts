import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import { NODES } from './cluster.ts';
import { PRODUCT_NAMESPACE, podsOf, rolledOut } from './daemon-sets.ts';
import { canOpen } from './exec.ts';
import { find, remove } from './kube.ts';
import { deviceMount, FUSE, mountOk, podPath, unmount } from './pods.ts';
import { expectNoPods, Targets } from './targets.ts';
import { until } from './until.ts';

const NODE = NODES[0]?.name ?? '';

const targets = new Targets();
const target = (): Promise<string> => targets.start(NODE);

afterEach(() => targets.remove());
afterAll(expectNoPods);

/** Deletes pods of the product and waits until they are gone. */
async function endPods(app: string, node?: string, timeoutMs?: number): Promise<void> {
  const paths = (await podsOf(app, node)).map(({ metadata }) => podPath(metadata.name, PRODUCT_NAMESPACE));
  expect(paths).not.toEqual([]);
  await Promise.all(paths.map(remove));
  const gone = async (): Promise<boolean> =>
    (await Promise.all(paths.map((path) => find(path)))).every((pod) => pod === undefined);
  await until(`the pods of ${app} to be gone`, gone, timeoutMs);
}

describe('a roll-out', () => {
  test('of the control workers hands a mount that waits in the queue over, and ends in seconds', async () => {
    const [holder, pod] = await Promise.all([target(), target()]);
    await mountOk(holder, FUSE);
    const { name } = (await mountOk(pod, FUSE, '&queue=true&wait_second=0')).metadata;
    await until('the scheduler’s words', async () =>
      (await deviceMount(name))?.status.message?.includes('Insufficient'),
    );
    // The kubelet kills one that does not end by itself after 45 s.
    await endPods('device-mounter-control', undefined, 44_000);
    await rolledOut('deployments', 'device-mounter-control');
    expect((await deviceMount(name))?.status.phase).toBe('Pending');
    expect((await unmount(holder)).status).toBe(200);
    await until(`${name} to be mounted`, async () => (await deviceMount(name))?.status.phase === 'Mounted');
    expect(await canOpen(pod, '/dev/fuse')).toBe(true);
  });

  test('of a node worker in the middle of a mount leaves it mounted', async () => {
    const pod = await target();
    const [mount] = await Promise.all([mountOk(pod, FUSE, '&wait_second=35'), endPods('device-mounter-node', NODE)]);
    expect(mount.status.phase).toBe('Mounted');
    await rolledOut('daemonsets', 'device-mounter-node');
    expect(await canOpen(pod, '/dev/fuse')).toBe(true);
    expect((await unmount(pod)).status).toBe(200);
  });
});
