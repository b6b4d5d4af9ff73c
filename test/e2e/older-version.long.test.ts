import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { loadAll } from 'js-yaml';
import { deployProduct } from '../../deploy/local/product.ts';
import { REPOSITORY } from '../../deploy/local/state.ts';
import { CLUSTER, NODES } from './cluster.ts';
import { PRODUCT_NAMESPACE, rolledOut } from './daemon-sets.ts';
import { imageOfProduct } from './install/images.ts';
import { kubectlOk } from './kubectl.ts';
import { expectNothingMounted, slavesGone, startPod, unmount } from './pods.ts';
import { expectStanding, PATIENT, type Standing, startStanding, underStreams } from './stream.ts';
import { expectNoPods, removeTargets } from './targets.ts';

/** Image, which the nodes have, and `deploy` folder of an older version; `npm run test:upgrade` says which. */
const { older } = globalThis as { readonly older?: { readonly image: string; readonly deploy: string } };
const { image, deploy } = older ?? { image: '', deploy: '' };

const manifestsOf =
  (folder: string) =>
  (name: string): readonly unknown[] =>
    loadAll(readFileSync(join(folder, name), 'utf8'));

let product: string;
let clients: readonly string[] = [];
let byOlder: readonly Standing[] = [];
let byNewer: readonly Standing[] = [];
beforeAll(async () => {
  if (older === undefined) throw new Error('Cannot run: npm run test:upgrade -- COMMIT makes what this needs');
  product = await imageOfProduct();
  if (product === image) throw new Error('Cannot upgrade: the image of that commit is the same');
  await deployProduct(CLUSTER, image, manifestsOf(deploy));
  clients = await Promise.all(NODES.map(({ name }) => startPod(name)));
});
afterAll(async () => {
  await deployProduct(CLUSTER, product);
  await removeTargets([...clients, ...[...byOlder, ...byNewer].map(({ pod }) => pod)]);
  await expectNoPods();
});

async function unmounted(all: readonly Standing[]): Promise<void> {
  for (const { pod } of all) {
    expect(await unmount(pod, PATIENT)).toMatchObject({ status: 200 });
    await slavesGone(pod);
    await expectNothingMounted(pod);
  }
}

/** As an administrator takes the last change of it back, and the next time that of this. */
async function rollBackControlWorker(): Promise<void> {
  const name = 'device-mounter-control';
  await kubectlOk(['rollout', 'undo', `deployment/${name}`, `--namespace=${PRODUCT_NAMESPACE}`]);
  await rolledOut('deployments', name);
}

test('an upgrade of everything, all parts at once, fails no request and loses no mount', async () => {
  byOlder = await startStanding();
  await underStreams(clients, () => deployProduct(CLUSTER, product, manifestsOf(join(REPOSITORY, 'deploy'))));
  await expectStanding(byOlder);
});

test('the older control worker goes on with mounts of the newer one, and the newer one with its mounts', async () => {
  const half = Math.ceil(NODES.length / 2);
  await unmounted(byOlder.slice(0, half));
  byNewer = await startStanding('/dev/net/tun');
  await rollBackControlWorker();
  expect(await imageOfProduct()).toBe(image);
  await expectStanding([...byOlder.slice(half), ...byNewer]);
  await unmounted(byNewer.slice(0, half));
  await rollBackControlWorker();
  expect(await imageOfProduct()).toBe(product);
  await expectStanding([...byOlder.slice(half), ...byNewer.slice(half)]);
  await unmounted([...byOlder.slice(half), ...byNewer.slice(half)]);
});
