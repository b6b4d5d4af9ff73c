import { deployProduct } from '../../../deploy/local/product.ts';
import { pathOf } from '../api/namespaces.ts';
import { CLUSTER, NODES } from '../cluster.ts';
import { blocksOf, runBlock } from '../guide.ts';
import { find } from '../kube.ts';
import { kubectlOk } from '../kubectl.ts';
import { until } from '../until.ts';
import { startDns, stopDns } from './dns.ts';
import { imageOfProduct, provideImages, withdrawImages } from './images.ts';

export const API_SERVICE = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.device-mounter.io';
const LABEL = 'device-mounter-enable';

/** The commands of a section of a guide, with the words that a reader replaces. */
export function commands(
  heading: string,
  part: string,
  words: Readonly<Record<string, string>> = {},
  guide = 'install.md',
): string {
  const block = blocksOf(guide).find((one) => one.heading === heading && one.text.includes(part));
  if (block === undefined) throw new Error(`Cannot find "${part}" below "${heading}" of ${guide}`);
  return Object.entries(words).reduce((text, [word, own]) => text.replaceAll(word, own), block.text);
}

/** The removal that the guide tells. */
export const removal = (): Promise<string> => runBlock(commands('Remove', 'kubectl delete -f'), {});

export const productGone = (): Promise<boolean> =>
  until('the namespace to be gone', async () => (await find(pathOf('device-mounter'))) === undefined, 90_000);

/** Makes the cluster one that has the images and DNS, and nothing of the product. Answers the image that ran in it. */
export async function emptyCluster(): Promise<string> {
  const product = await imageOfProduct();
  await provideImages(product);
  await removal();
  for (const { name } of NODES) await kubectlOk(['label', 'node', name, `${LABEL}-`]);
  await startDns();
  return product;
}

/** Installs the product again as the other tests know it. */
export async function refillCluster(product: string): Promise<void> {
  await stopDns();
  for (const { name } of NODES) await kubectlOk(['label', 'node', name, `${LABEL}=enable`, '--overwrite']);
  await withdrawImages();
  await deployProduct(CLUSTER, product);
}
