import { randomBytes } from 'node:crypto';
import { PAUSE_IMAGE } from '../../deploy/local/image/small.ts';
import { hasCondition } from '../../deploy/local/kube-api.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { kubeConfigOf } from '../../process/kubernetes.ts';
import { CLUSTER, NODES } from '../e2e/cluster.ts';
import { ask, find } from '../e2e/kube.ts';
import { deletePod, FUSE, GROUP, PODS, podPath, startPod } from '../e2e/pods.ts';
import { until } from '../e2e/until.ts';
import { type Figure, timed } from './figure.ts';
import { type MountTimes, mountFigures, mountTables, type TimedName } from './mount-report.ts';
import { chosenNodes, type DeviceType, type Options } from './options.ts';
import { mountAsOriginal } from './original.ts';
import { timePerRound } from './processor-time.ts';
import { SlaveWatch } from './slave-watch.ts';

/**
 * What users wait for, beside the start of a bare pod and the original's way on the same cluster in the same run: mount with the device nodes
 * known at admission (HOSTDEV) and with those of the running slave (GENERIC), and unmount; then the processor time of a mount and its
 * unmount. Prints the tables of docs/performance.md as well. Needs a cluster, see `npm start`, on a machine that has nothing else to do.
 */
export async function benchMount(options: Options): Promise<readonly Figure[]> {
  const all: MountTimes[] = [];
  try {
    for (const node of chosenNodes(NODES, options)) all.push(await benchOn(node, options.rounds));
  } finally {
    CLUSTER.api.close();
  }
  if (!options.json) console.log(`${mountTables(all)}\n`);
  return all.flatMap(mountFigures);
}

async function benchOn({ name: node, cgroup }: ClusterNode, rounds: number): Promise<MountTimes> {
  const pod = await startPod(node);
  try {
    // The first mount after a while tells of other things.
    await watched(pod, (slaves) => cycle(pod, 'HOSTDEV', slaves));
    const times = await timesOf(node, pod, rounds);
    const processorTime = await watched(pod, (slaves) => timePerRound(rounds, () => cycle(pod, 'HOSTDEV', slaves)));
    return { node, cgroup, times, processorTime };
  } finally {
    await deletePod(pod);
  }
}

/** Gives `use` a watch of the pod's slaves. */
export async function watched<T>(pod: string, use: (slaves: SlaveWatch) => Promise<T>): Promise<T> {
  const slaves = await SlaveWatch.open(kubeConfigOf(CLUSTER.kubeconfig), pod);
  try {
    return await use(slaves);
  } finally {
    slaves.close();
  }
}

/** In turns, so that what else the machine does falls on all of them. */
async function timesOf(node: string, pod: string, rounds: number): Promise<MountTimes['times']> {
  const times: Record<TimedName, number[]> = { 'bare-pod': [], hostdev: [], generic: [], unmount: [], original: [] };
  for (let round = 0; round < rounds; round++) {
    times['bare-pod'].push(await barePod(node));
    for (const type of ['HOSTDEV', 'GENERIC'] as const) {
      const { mountMs, unmountMs } = await watched(pod, (slaves) => cycle(pod, type, slaves));
      times[type === 'HOSTDEV' ? 'hostdev' : 'generic'].push(mountMs);
      times.unmount.push(unmountMs);
    }
    times.original.push(await mountAsOriginal(node, pod));
  }
  return times;
}

/** Mounts and unmounts, and waits until the device is free again. */
export async function cycle(
  pod: string,
  type: DeviceType,
  slaves: SlaveWatch,
): Promise<{ readonly mountMs: number; readonly unmountMs: number }> {
  const mountMs = await timed(() => put(pod, 'mount', type, { resources: { [FUSE]: '1' } }));
  const unmountMs = await timed(() => put(pod, 'unmount', type, {}));
  await slaves.gone();
  return { mountMs, unmountMs };
}

/** Answers the body of the answer. @throws unless that is 200 */
export function put<T>(pod: string, verb: 'mount' | 'unmount', type: DeviceType, body: object): Promise<T> {
  return ask<T>('PUT', `${GROUP}/namespaces/default/pods/${pod}/${verb}?device_type=${type}&wait_second=38`, body);
}

/** Milliseconds from the request to create a pod like a slave, without a device, until it is Ready. */
async function barePod(node: string): Promise<number> {
  const name = `bare-${randomBytes(4).toString('hex')}`;
  const spec = {
    nodeSelector: { 'kubernetes.io/hostname': node },
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    containers: [{ name: 'pause', image: PAUSE_IMAGE, imagePullPolicy: 'IfNotPresent' }],
  };
  const took = await timed(async () => {
    await ask('POST', PODS, { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });
    await until(`${name} to be ready`, async () => hasCondition(await find(podPath(name)), 'Ready'), 60_000, 10);
  });
  await deletePod(name);
  return took;
}
