import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pathOf } from '../api/namespaces.ts';
import { NODES } from '../cluster.ts';
import { canOpen, exec } from '../exec.ts';
import { runBlock } from '../guide.ts';
import { find, remove } from '../kube.ts';
import { kubectlOk } from '../kubectl.ts';
import { deletePod, expectNothingMounted, FUSE, KMSG, mount, podPath, slavesGone, startPod, unmount } from '../pods.ts';
import { until } from '../until.ts';
import { API_SERVICE, commands, emptyCluster, productGone, refillCluster, removal } from './empty-cluster.ts';

const TEMPORAL = 'device-mounter-temporal-0';
const NODE = NODES[0]?.name ?? '';

/** What the program in the pod of the Temporal that came along says. */
async function askTemporal(...args: string[]): Promise<string> {
  return (await exec(TEMPORAL, ['/temporal', 'operator', ...args], 'device-mounter')).stdout;
}

const SECRETS = ['device-mounter-apiserver-tls', 'device-mounter-signing'];

const secretUids = (): Promise<readonly (string | undefined)[]> =>
  Promise.all(
    SECRETS.map(async (name) => {
      const path = `/api/v1/namespaces/device-mounter/secrets/${name}`;
      return (await find<{ metadata: { uid: string } }>(path))?.metadata.uid;
    }),
  );

const readme = (part: string, words: Readonly<Record<string, string>>): string =>
  commands('Install it on your cluster', part, words, '../../README.md');

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

describe('on a cluster with nothing of the product', () => {
  test('what README.md prints installs it, and a mount works within a minute', async () => {
    const started = performance.now();
    await runBlock(readme('kubectl apply', { NODE }), {});
    const words = { NAMESPACE: 'default', POD: pod, 'nvidia.com/gpu': FUSE, NVIDIA_GPU: 'HOSTDEV' };
    await runBlock(readme('kubectl replace', words), {});
    expect(await canOpen(pod, '/dev/fuse')).toBe(true);
    expect((performance.now() - started) / 1_000).toBeLessThan(60);
  });

  test('docs/guides/install.md tells the same commands, and how to give the right to mount', async () => {
    const told = [commands('With kubectl', 'kubectl label'), commands('With kubectl', 'kubectl wait')].join('\n');
    expect(told).toBe(readme('kubectl apply', {}));
    const user = { NAMESPACE: 'default', USER: 'quick-start', POD: pod };
    const device = { 'nvidia.com/gpu': KMSG, NVIDIA_GPU: 'HOSTDEV' };
    const printed = await runBlock(commands('The first mount', 'kubectl replace', { ...user, ...device }), {});
    expect(printed).toContain('"phase":"Mounted"');
    expect(await kubectlOk(['auth', 'can-i', '--list', '--as=quick-start'])).toContain('pods.device-mounter.io/mount ');
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

  test('docs/guides/keys.md replaces the certificate, and a key that has leaked', async () => {
    const before = await secretUids();
    await runBlock(commands('Replace one now', 'delete secret', {}, 'keys.md'), {});
    await runBlock(commands('When the signing key has leaked', 'delete', {}, 'keys.md'), {});
    await until('another certificate and another key', async () =>
      (await secretUids()).every((uid) => uid !== undefined && !before.includes(uid)),
    );
    // Each replica of the apiserver gets the new key at a time of its own, and until then its requests are refused.
    const mounted = async (): Promise<boolean> => (await mount(pod, FUSE, '&wait_second=20')).status === 200;
    await until('a mount', mounted, 300_000, 1_000);
    const unmounted = async (): Promise<boolean> => (await unmount(pod, '&wait_second=20')).status === 200;
    await until('its unmount', unmounted, 300_000, 1_000);
    await slavesGone(pod);
  });

  test('the documented removal takes all of it away, the namespace too', async () => {
    await removal();
    await productGone();
    expect(await find(API_SERVICE)).toBeUndefined();
    expect(await find(pathOf('device-mounter'))).toBeUndefined();
  });
});
