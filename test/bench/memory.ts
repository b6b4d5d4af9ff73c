import { readFileSync } from 'node:fs';
import { Watch } from '@kubernetes/client-node';
import { OBJECT_GROUP_VERSION } from '../../contract/device-mount-object.ts';
import { kubeConfigOf } from '../../process/kubernetes.ts';
import { CLUSTER } from '../e2e/cluster.ts';
import { processesOfProduct } from '../e2e/kills/parts.ts';
import { nodeAt } from '../e2e/nodes.ts';
import { deletePod, KMSG, mountOk, startPod, unmount } from '../e2e/pods.ts';
import { atMost, type Figure, measured } from './figure.ts';

const WATCHES = 20;
const MOUNTS = 500;
const PODS = 10;
const LASTS_MS = 600_000;

/** What the processes of the product take after ten minutes in which 20 clients watch all mounts, and 500 come and go. Needs a cluster, see `npm start`. */
export async function benchMemory(): Promise<readonly Figure[]> {
  const { apiservers, controls } = await processesOfProduct();
  const endsAt = performance.now() + LASTS_MS;
  const pods = await Promise.all(Array.from({ length: PODS }, (_, index) => startPod(nodeAt(index).name)));
  const seen = new Set<string>();
  const watches = await Promise.all(Array.from({ length: WATCHES }, () => watching(seen)));
  try {
    await Promise.all(pods.map((pod) => comeAndGo(pod, MOUNTS / PODS)));
    await new Promise((resolve) => setTimeout(resolve, endsAt - performance.now()));
  } finally {
    for (const watch of watches) watch.abort();
    await Promise.all(pods.map((pod) => deletePod(pod)));
    CLUSTER.api.close();
  }
  return [
    measured('memory.mounts-seen', seen.size, 'times'),
    ...apiservers.map((pid, index) => atMost(`memory.apiserver-${index}.rss`, rssMiB(pid), 'MiB', 160)),
    ...controls.map((pid, index) => atMost(`memory.control-${index}.rss`, rssMiB(pid), 'MiB', 220)),
  ];
}

/** Begins again where kube-apiserver ends a watch, as clients do. */
async function watching(seen: Set<string>): Promise<AbortController> {
  const over = new AbortController();
  const begin = async (): Promise<void> => {
    const watch = await new Watch(kubeConfigOf(CLUSTER.kubeconfig)).watch(
      `/apis/${OBJECT_GROUP_VERSION}/devicemounts`,
      {},
      (_type, object: { readonly metadata: { readonly uid: string } }) => seen.add(object.metadata.uid),
      () => void (over.signal.aborted || begin()),
    );
    over.signal.addEventListener('abort', () => watch.abort(), { once: true });
  };
  await begin();
  return over;
}

async function comeAndGo(pod: string, times: number): Promise<void> {
  for (let time = 0; time < times; time++) {
    await mountOk(pod, KMSG, '&wait_second=38');
    const { status } = await unmount(pod, '&wait_second=38');
    if (status !== 200) throw new Error(`unmount answered ${status}`);
  }
}

function rssMiB(pid: number): number {
  const [, kiB] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kiB) / 1_024;
}
