import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { deployProduct } from '../../../deploy/local/product.ts';
import { pathOf } from '../api/namespaces.ts';
import { CLUSTER, NODES } from '../cluster.ts';
import { exec, inPod } from '../exec.ts';
import { blocksOf, runBlock } from '../guide.ts';
import { find, remove } from '../kube.ts';
import { kubectlOk } from '../kubectl.ts';
import { deletePod, expectNothingMounted, podPath, slavesGone, startPod, unmount } from '../pods.ts';
import { until } from '../until.ts';
import { startDns, stopDns } from './dns.ts';
import { imageOfProduct, provideImages, withdrawImages } from './images.ts';

const API = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.device-mounter.io';
const NAMESPACE = '/api/v1/namespaces/device-mounter';
const TEMPORAL = 'device-mounter-temporal-0';
const NODE = NODES[0]?.name ?? '';
const LABEL = 'device-mounter-enable';

/** The commands of a section, with the words that a reader replaces. */
function commands(heading: string, part: string, words: Readonly<Record<string, string>> = {}): string {
  const block = blocksOf('install.md').find((one) => one.heading === heading && one.text.includes(part));
  if (block === undefined) throw new Error(`Cannot find "${part}" below "${heading}"`);
  return Object.entries(words).reduce((text, [word, own]) => text.replaceAll(word, own), block.text);
}

const removal = (): Promise<string> => runBlock(commands('Remove', 'kubectl delete -f'), {});

/** What the program in the pod of the Temporal that came along says. */
async function askTemporal(...args: string[]): Promise<string> {
  return (await exec(TEMPORAL, ['/temporal', 'operator', ...args], 'device-mounter')).stdout;
}

let product: string;
let pod: string;
beforeAll(async () => {
  product = await imageOfProduct();
  pod = await startPod(NODE);
  await provideImages(product);
  await removal();
  for (const { name } of NODES) await kubectlOk(['label', 'node', name, `${LABEL}-`]);
  await startDns();
}, 600_000);
afterAll(async () => {
  await deletePod(pod);
  await kubectlOk(['delete', 'rolebinding', 'mounters', '--ignore-not-found']);
  await stopDns();
  for (const { name } of NODES) await kubectlOk(['label', 'node', name, `${LABEL}=enable`, '--overwrite']);
  await withdrawImages();
  await deployProduct(CLUSTER, product);
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
    expect(await inPod(pod, 'exec 3<>/dev/fuse && echo opened')).toMatchObject({ stdout: 'opened\n' });
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
    await until('the namespace to be gone', async () => (await find(pathOf('device-mounter'))) === undefined, 60_000);
    expect(await find(API)).toBeUndefined();
    expect(await find(NAMESPACE)).toBeUndefined();
  });
});
