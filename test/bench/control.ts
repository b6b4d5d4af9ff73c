import { Client, Connection } from '@temporalio/client';
import { nodeQueue } from '../../contract/names.ts';
import { temporalAccess } from '../../process/temporal-access.ts';
import { ClusterClient } from '../workflows/cluster-client.ts';
import { MemoryCluster } from '../workflows/memory-cluster.ts';
import { MemoryNode } from '../workflows/memory-node.ts';
import { CLUSTER, FUSE, mountRequest, NAMESPACE, PUBLIC_KEY, signed, unmountRequest } from '../workflows/requests.ts';
import { Workers } from '../workflows/workers.ts';
import { ControlProcess } from './control-process.ts';
import { atMost, type Figure, measured, p50, timed } from './figure.ts';
import { KUBE_SYSTEM } from './kube-api.ts';

const NODE = 'n1';
const PODS = Array.from({ length: 10 }, (_, index) => `p${index}`);
const MOUNTS = 500;
const OPEN = 200;
/** On a machine that is busy with other things, too. */
const DEADLINE_SECONDS = 100;

/**
 * What the real process of the control worker takes after 500 mounts have come and gone, ten at a time, and then with 200 that stay; and how
 * long these took.
 */
export async function benchControl(
  start = (of: MemoryCluster): Promise<ControlProcess> => ControlProcess.start(of),
): Promise<readonly Figure[]> {
  const cluster = new MemoryCluster();
  // An unmount is answered before its slave is gone, and a busy machine is slow with that.
  cluster.addNode(NODE, { [FUSE]: OPEN + MOUNTS });
  for (const pod of PODS) cluster.addTarget(NAMESPACE, pod, NODE);
  const control = await start(cluster);
  const connection = await Connection.connect({ address: control.temporal.address });
  const workers = await startNode(control, cluster);
  try {
    const client = new ClusterClient(new Client({ connection }), { name: CLUSTER, uid: KUBE_SYSTEM });
    const startRss = control.rssMiB;
    const times = await Promise.all(PODS.map((pod) => comeAndGo(client, pod, MOUNTS / PODS.length)));
    const goneRss = control.rssMiB;
    await Promise.all(PODS.map((pod) => mountMany(client, pod, OPEN / PODS.length)));
    return [
      measured('control.start-rss', startRss, 'MiB'),
      atMost(`control.${MOUNTS}-mounts.rss`, goneRss, 'MiB', 220),
      measured(`control.${OPEN}-open.rss`, control.rssMiB, 'MiB'),
      measured('control.mount', p50(times.flatMap(({ mount }) => mount)), 'ms'),
      measured('control.unmount', p50(times.flatMap(({ unmount }) => unmount)), 'ms'),
    ];
  } finally {
    await workers.close();
    await connection.close();
    await control.stop();
  }
}

async function startNode({ temporal }: ControlProcess, cluster: MemoryCluster): Promise<Workers> {
  const access = temporalAccess({ 'temporal-address': temporal.address, 'temporal-namespace': 'default' });
  const node = new MemoryNode(cluster, {
    clusterName: CLUSTER,
    publicKeys: () => [{ key: PUBLIC_KEY }],
  });
  const workers = await Workers.connect(access);
  await workers.start(nodeQueue(CLUSTER, NODE), { activities: node.steps });
  return workers;
}

interface Times {
  readonly mount: readonly number[];
  readonly unmount: readonly number[];
}

async function comeAndGo(client: ClusterClient, pod: string, times: number): Promise<Times> {
  const taken = { mount: [] as number[], unmount: [] as number[] };
  for (let time = 0; time < times; time++) {
    const mount = signed(mountRequest(pod, { name: `${pod}-${time}`, deadlineSeconds: DEADLINE_SECONDS }));
    taken.mount.push(await timed(() => client.mount(mount)));
    const unmount = signed(unmountRequest(pod, { deadlineSeconds: DEADLINE_SECONDS }));
    taken.unmount.push(await timed(() => client.unmount(unmount)));
  }
  return taken;
}

async function mountMany(client: ClusterClient, pod: string, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    await client.mount(signed(mountRequest(pod, { name: `${pod}-open-${index}`, deadlineSeconds: DEADLINE_SECONDS })));
  }
}
