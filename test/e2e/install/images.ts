import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CLUSTER, NODES } from '../cluster.ts';
import { kubectlOk } from '../kubectl.ts';
import { loadRootImage } from '../opener/image.ts';

const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8')) as {
  readonly version: string;
};

/** Names of images in the manifests, as containerd has them. */
const NAMES = {
  product: `docker.io/library/device-mounter:${version}`,
  slave: 'registry.k8s.io/pause:3.10',
  temporal: 'docker.io/temporalio/temporal:1.8.2',
} as const;

/** The image that runs in the cluster now. */
export async function imageOfProduct(): Promise<string> {
  const path = 'jsonpath={.spec.template.spec.containers[0].image}';
  return await kubectlOk(['get', 'deployment', 'device-mounter-control', '--namespace=device-mounter', '-o', path]);
}

/** Gives every node what the manifests name, as if a registry had it: the product, slaves, and a Temporal server. */
export async function provideImages(product: string): Promise<void> {
  const temporal = await temporalImage();
  const sources = { product, slave: 'localhost/pause:1', temporal };
  for (const node of NODES)
    for (const [what, name] of Object.entries(NAMES))
      await node.ctr('images', 'tag', '--force', sources[what as keyof typeof NAMES], name);
}

export async function withdrawImages(): Promise<void> {
  for (const node of NODES) await node.ctr('images', 'remove', ...Object.values(NAMES));
}

/** As Temporal's own image: the program, what it is linked with, and a name for its user, which the program looks up. */
function temporalImage(): Promise<string> {
  const binary = join(CLUSTER.tools.temporal, 'temporal');
  const linked = execFileSync('ldd', [binary], { encoding: 'utf8' }).matchAll(/(?:=> |^\s*)(\/\S+)/gm);
  return loadRootImage(NODES, ['/temporal'], async (root) => {
    copyFileSync(binary, join(root, 'temporal'));
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc', 'passwd'), 'temporal:x:1000:1000::/:\n');
    for (const [, library = ''] of linked) {
      mkdirSync(join(root, dirname(library)), { recursive: true });
      copyFileSync(library, join(root, library));
    }
  });
}
