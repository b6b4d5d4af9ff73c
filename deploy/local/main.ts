import { join } from 'node:path';
import { type Cluster, describedNodes, loadCluster, runningCluster } from './cluster.ts';
import { runDemo } from './demo.ts';
import { announceFirstStart } from './first-start.ts';
import { parseFlags, type StartFlags, USAGE } from './flags.ts';
import { forgetIdentity, identityOf, livePid, writeIdentity } from './identity.ts';
import type { Image } from './image/archive.ts';
import { loadImage } from './image/load.ts';
import { smallImages } from './image/small.ts';
import { removeCluster } from './leftovers.ts';
import { ensureSystemPackages, missingPrerequisites } from './prerequisites.ts';
import { elapsed, Progress } from './progress.ts';
import { endRunning } from './run.ts';
import { startCluster } from './start.ts';
import { cacheFolder, isDescribed, statePaths } from './state.ts';
import { ensureTools } from './tools.ts';
import { sideBySide, until } from './wait.ts';

const paths = statePaths(process.env);
const progress = new Progress(process.stdout);
const buildLog = join(paths.root, 'build-log');
const imageCache = join(cacheFolder(process.env), 'images');
const interrupted = new AbortController();

async function main(): Promise<number> {
  const flags = parseFlags(process.argv.slice(2));
  if (flags.command === 'stop') return stop();
  const problems = missingPrerequisites();
  if (problems.length > 0) throw new Error(problems.join('\n'));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  return start(flags);
}

/** The first signal ends what goes on, and everything is taken down; more of them (a terminal sends to the whole group) change nothing. */
function interrupt(): void {
  interrupted.abort(new Error('Interrupted.'));
  endRunning();
}

async function start(flags: StartFlags): Promise<number> {
  const other = livePid(paths.starter);
  if (other !== undefined)
    throw new Error(`Cannot start: process ${other} runs this cluster already; end it with npm stop.`);
  const self = identityOf(process.pid);
  if (self !== undefined) writeIdentity(paths.starter, self);
  let keep = false;
  try {
    const started = performance.now();
    // One that was left running is used again.
    const found = runningCluster(paths, flags.nodes);
    keep = found !== undefined;
    if (keep) progress.say('The cluster runs already.');
    const cluster = await withProduct(flags, found);
    progress.say(`\nReady after ${elapsed(performance.now() - started)}.`);
    if (flags.demo) await runDemo(cluster, progress);
    progress.say(`\nDone after ${elapsed(performance.now() - started)}.`);
    keep ||= flags.detach;
    if (!flags.once) invite(cluster);
    if (!flags.once && !flags.detach) keep = await interruption();
    return 0;
  } catch (err) {
    if (!interrupted.signal.aborted) throw err;
    return 130;
  } finally {
    if (!keep) await takeDown();
    forgetIdentity(paths.starter);
  }
}

/** The product's image is built while the cluster starts. */
async function withProduct(flags: StartFlags, found: Cluster | undefined): Promise<Cluster> {
  const purpose = flags.nodes === 3 ? 'node-3' : undefined;
  announceFirstStart(progress, process.env, purpose);
  await ensureSystemPackages(progress, buildLog, purpose);
  if (!flags.product) return found ?? freshCluster(flags, smallImages(imageCache), interrupted.signal);
  // Loading it takes a second, which `npm stop` and a cluster without the product need not wait for.
  const { runProductOnHost } = await import('./product.ts');
  if (!flags.hostProcesses) return withImage(flags, found);
  const cluster = found ?? (await freshCluster(flags, smallImages(imageCache), interrupted.signal));
  await progress.step('start the product on this machine', () => runProductOnHost(cluster));
  return cluster;
}

async function withImage(flags: StartFlags, found: Cluster | undefined): Promise<Cluster> {
  const { foundationImage, productImage } = await import('./image/product.ts');
  const { deployProduct } = await import('./product.ts');
  const foundation = foundationImage(imageCache);
  // Not side by side with it: both would make it.
  const product = foundation.then(() => productImage(imageCache));
  const images = Promise.all([smallImages(imageCache), foundation]).then((all) => all.flat());
  let cluster = found;
  let image: Image | undefined;
  await sideBySide(interrupted.signal, [
    async (signal) => (cluster ??= await freshCluster(flags, images, signal)),
    async () => (image = await progress.step('build the image of the product', () => product)),
  ]);
  if (cluster === undefined || image === undefined) throw new Error('Cannot go on without cluster or image.');
  const [{ nodes }, built] = [cluster, image];
  await progress.step('load the image into the nodes', () => loadImage(paths, nodes, built));
  await progress.step('install the product', () => deployProduct(loadCluster(paths.root), built.tag));
  return cluster;
}

async function freshCluster(
  { nodes }: StartFlags,
  images: Promise<readonly Image[]>,
  signal: AbortSignal,
): Promise<Cluster> {
  const tools = await ensureTools(progress, buildLog, { signal: interrupted.signal });
  return startCluster({ paths, tools, nodes, imageCache, images, progress, signal });
}

function invite({ kubeconfig, kubectl, uiAddress }: Cluster): void {
  progress.say(`
  export KUBECONFIG=${kubeconfig} PATH=$PATH:${join(kubectl, '..')}
  Temporal's UI: ${uiAddress}

Try:
  kubectl run web --image=localhost/busybox:1 --image-pull-policy=Never -- sleep 1000000
  kubectl wait --for=condition=Ready pod/web
  echo '{"resources":{"hostdev.k8s.io/dev_fuse":"1"}}' | kubectl replace --raw \
    '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web/mount?device_type=HOSTDEV' -f -
  kubectl get devicemounts
`);
}

/** Waits for Ctrl-C; answers false: the cluster ends then. */
function interruption(): Promise<boolean> {
  progress.say('Ctrl-C takes everything down.');
  return new Promise((resolve) => {
    const alive = setInterval(() => undefined, 1 << 30);
    const end = (): void => {
      clearInterval(alive);
      resolve(false);
    };
    if (interrupted.signal.aborted) end();
    else interrupted.signal.addEventListener('abort', end, { once: true });
  });
}

async function takeDown(): Promise<void> {
  if (isDescribed(paths))
    await progress.step('take the cluster down', () => removeCluster(paths, describedNodes(paths)));
}

async function stop(): Promise<number> {
  const starter = livePid(paths.starter);
  if (starter !== undefined) {
    process.kill(starter, 'SIGTERM');
    await progress.step(`end the start with pid ${starter}`, () =>
      until('it to end', () => livePid(paths.starter) === undefined, { timeoutMs: 60_000 }),
    );
  }
  if (!isDescribed(paths)) progress.say('No cluster runs.');
  await takeDown();
  return 0;
}

try {
  process.exitCode = await main();
} catch (err) {
  process.stderr.write(`${err instanceof Error ? err.message : String(err)}\n`);
  if (process.env['DEBUG'] !== undefined && err instanceof Error) process.stderr.write(`${err.stack ?? ''}\n`);
  process.stderr.write(err instanceof TypeError ? USAGE : '');
  process.exitCode = 1;
} finally {
  // Kept-alive connections to the API server would hold the process.
  process.exit();
}
