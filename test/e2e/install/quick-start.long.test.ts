import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pathOf } from '../api/namespaces.ts';
import { NODES } from '../cluster.ts';
import { canOpen, exec } from '../exec.ts';
import { runBlock } from '../guide.ts';
import { find, remove } from '../kube.ts';
import { kubectlOk } from '../kubectl.ts';
import { deletePod, expectNothingMounted, podPath, slavesGone, startPod, unmount } from '../pods.ts';
import { until } from '../until.ts';
import { API_SERVICE, commands, emptyCluster, productGone, refillCluster, removal } from './empty-cluster.ts';

const TEMPORAL = 'device-mounter-temporal-0';
const NODE = NODES[0]?.name ?? '';

/** What the program in the pod of the Temporal that came along says. */
async function askTemporal(...args: string[]): Promise<string> {
  return (await exec(TEMPORAL, ['/temporal', 'operator', ...args], 'device-mounter')).stdout;
}

let product: string;
let pod: string;
beforeAll(async () => {
  pod = await startPod(NODE);
  product = await emptyCluster();
}, 600_000);
afterAll(async () => {
  await deletePod(pod);
  await kubectlOk(['delete', 'rolebinding', 'mounters', '--ignore-not-found']);
  await refillCluster(product);
}, 180_000);

describe('docs/guides/install.md, on a cluster with nothing of the product', () => {
  test('two commands install it, and a mount works within a minute', async () => {
    const started = performance.now();
    await runBlock(commands('With kubectl', 'kubectl label', { NODE }), {});
    await runBlock(commands('With kubectl', 'kubectl wait'), {});
    const words = {
      NAMESPACE: 'default',
      USER: 'quick-start',
      POD: pod,
      'nvidia.com/gpu': 'hostdev.k8s.io/dev_fuse',
      NVIDIA_GPU: 'HOSTDEV',
    };
    await runBlock(commands('The first mount', 'kubectl replace', words), {});
    expect(await canOpen(pod, '/dev/fuse')).toBe(true);
    expect((performance.now() - started) / 1_000).toBeLessThan(60);
  });

  test('the control worker gives the Temporal that came along its retention and its search attributes', async () => {
    expect(await askTemporal('namespace', 'describe', '--namespace', 'default', '--output', 'json')).toContain(
      '"604800s"',
    );
    expect(await askTemporal('search-attribute', 'list')).toContain('MountPhase');
  });

  test('a mount survives the loss of that Temporal’s data, and is unmounted after it', async () => {
    await remove(podPath(TEMPORAL, 'device-mounter'));
    const unmounted = async (): Promise<boolean> => (await unmount(pod, '&wait_second=20')).status === 200;
    await until('the unmount', unmounted, 150_000, 1_000);
    await slavesGone(pod);
    await expectNothingMounted(pod);
  });

  test('the documented removal takes all of it away, the namespace too', async () => {
    await removal();
    await productGone();
    expect(await find(API_SERVICE)).toBeUndefined();
    expect(await find(pathOf('device-mounter'))).toBeUndefined();
  });
});
