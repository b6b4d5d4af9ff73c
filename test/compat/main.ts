import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { loadAll } from 'js-yaml';
import { ensureHelm } from '../../deploy/helm.ts';
import { describedNodes } from '../../deploy/local/cluster.ts';
import { runDemo } from '../../deploy/local/demo.ts';
import { loadImage } from '../../deploy/local/image/load.ts';
import { foundationImage, productImage } from '../../deploy/local/image/product.ts';
import { smallImages } from '../../deploy/local/image/small.ts';
import { removeCluster, removeEarlier } from '../../deploy/local/leftovers.ts';
import { ensureSystemPackages } from '../../deploy/local/prerequisites.ts';
import { deployProduct } from '../../deploy/local/product.ts';
import { Progress } from '../../deploy/local/progress.ts';
import { run } from '../../deploy/local/run.ts';
import { startCluster } from '../../deploy/local/start.ts';
import { cacheFolder, isDescribed, statePaths } from '../../deploy/local/state.ts';
import { OLD_KUBERNETES, TOOLS, type ToolFolders } from '../../deploy/local/tools/table.ts';
import { ensureTools } from '../../deploy/local/tools.ts';
import { leftSince, readTraces, type Traces } from '../../deploy/local/traces.ts';
import { MANIFESTS, rendered } from '../../deploy/render.ts';
import { longGrace } from './slave.ts';

/** `npm run test:compat -- 1.28`: what the chart gives that Kubernetes, on a cluster with one node of it, and a mount there. */
const [wanted = '', ...rest] = process.argv.slice(2);
const kubernetes = OLD_KUBERNETES[wanted];
if (kubernetes === undefined || rest.length > 0)
  throw new Error(`Usage: npm run test:compat -- ${Object.keys(OLD_KUBERNETES).join('|')}`);
const { version } = kubernetes;

const paths = statePaths(process.env);
if (isDescribed(paths)) throw new Error('Cannot start: a cluster runs here; end it with npm stop.');
const progress = new Progress(process.stdout);
const log = join(paths.root, 'build-log');
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort(new Error(signal)));

/** The local cluster's tools, with the programs of the old Kubernetes in place of its own. */
async function toolsWith(old: typeof kubernetes & object): Promise<ToolFolders> {
  const current = await ensureTools(progress, log, { signal: interrupted.signal });
  const others = TOOLS.filter(({ name }) => name !== 'kubernetes');
  const all = await ensureTools(progress, log, { tools: [...others, old], signal: interrupted.signal });
  const link = join(all.kubernetes, 'kubectl');
  if (!existsSync(link)) symlinkSync(join(current.kubernetes, 'kubectl'), link);
  return all;
}

/** Removes the cluster, and the rules of its kube-proxy. */
async function takeDown({ kubernetes }: ToolFolders, before: Traces): Promise<void> {
  if (isDescribed(paths)) await removeCluster(paths, describedNodes(paths));
  // It removes all of its rules, fails then where there is no ipset, and leaves the tables.
  await run(join(kubernetes, 'kube-proxy'), ['--cleanup']).catch(() => undefined);
  for (const trace of await leftSince(before, paths)) {
    const [, table] = /^nft table: (table ip6? (?:nat|filter|mangle))$/.exec(trace) ?? [];
    if (table !== undefined) await run('nft', ['delete', ...table.split(' ')]);
  }
}

/** The manifests as the chart has them for this version. */
async function manifests(): Promise<(name: string) => readonly unknown[]> {
  const helm = await ensureHelm();
  const texts = new Map<string, string>();
  for (const manifest of MANIFESTS)
    texts.set(manifest.name, await rendered(helm, { ...manifest, kubernetes: version }));
  return (name) => loadAll(texts.get(name) ?? '').filter((object) => object !== null);
}

await ensureSystemPackages(progress, log);
const imageCache = join(cacheFolder(process.env), 'images');
const images = [...(await smallImages(imageCache)), await foundationImage(imageCache)];
const image = await progress.step('build the image of the product', () => productImage(imageCache));
const tools = await toolsWith(kubernetes);
await removeEarlier(paths, progress);
const before = await readTraces(paths);
try {
  const options = { paths, tools, nodes: 1, imageCache, progress, proxyMode: 'iptables' } as const;
  const cluster = await startCluster({ ...options, images: Promise.resolve(images), signal: interrupted.signal });
  await loadImage(paths, cluster.nodes, image);
  const read = await manifests();
  await progress.step(`install the product on Kubernetes ${version}`, () => deployProduct(cluster, image.tag, read));
  await runDemo(cluster, progress);
  await progress.step('a slave that is deleted holds its devices for its grace', () => longGrace(cluster));
} finally {
  await progress.step('take the cluster down', () => takeDown(tools, before));
}
const left = await leftSince(before, paths);
if (left.length > 0) throw new Error(`Cannot remove all of the cluster. This is left:\n${left.join('\n')}`);
// Kept-alive connections to the API server would hold the process.
process.exit();
