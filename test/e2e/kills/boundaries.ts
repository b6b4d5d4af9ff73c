import { CLUSTER, NODES } from '../cluster.ts';
import { deviceState } from '../device-state.ts';
import { startPod } from '../pods.ts';
import type { Temporal } from '../temporal.ts';
import { until } from '../until.ts';
import { findMount, putMount, putUnmount } from './caller.ts';
import type { Held } from './held.ts';
import type { Processes } from './parts.ts';

/** Where a mount or unmount stands still, with the node that it is on: v1 and v2 take turns. */
export const BOUNDARIES = {
  'mount: accepted, nothing done': 1,
  'mount: slave made, not scheduled': 0,
  'mount: slave scheduled, nothing allocated': 1,
  'mount: allocated, not attached': 0,
  'mount: attached, the workflow does not know': 2,
  'mount: made': 1,
  'unmount: accepted, nothing done': 0,
  'unmount: to be detached': 0,
  'unmount: detached, the workflow does not know': 2,
  'unmount: slave to be deleted': 1,
} as const;
export type Boundary = keyof typeof BOUNDARIES;

export type Pods = Readonly<Record<Boundary, string>>;

/** A target pod for each boundary. */
export async function startPods(): Promise<Pods> {
  const started = await Promise.all(
    Object.entries(BOUNDARIES).map(async ([boundary, node]) => [boundary, await startPod(NODES[node]?.name ?? '')]),
  );
  return Object.fromEntries(started) as Pods;
}

export const isMount = (boundary: Boundary): boolean => boundary.startsWith('mount');

interface Slave {
  readonly metadata: { readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName?: string };
}

async function slaveOf(pod: string): Promise<Slave | undefined> {
  const selector = encodeURIComponent(`device-mounter.io/owner-name=${pod}`);
  const list = await CLUSTER.api.find(`/api/v1/namespaces/default/pods?labelSelector=${selector}`);
  return (list as { readonly items: readonly Slave[] } | undefined)?.items[0];
}

/** Waits until the activity `name` of a workflow that concerns `pod` was handed to a task queue and nobody works on it yet. */
function pending({ client }: Temporal, pod: string, name: string): Promise<unknown> {
  return until(`${name} for ${pod} to wait`, async () => {
    for await (const { workflowId } of client.workflow.list({
      query: `MountPod = '${pod}' AND ExecutionStatus = 'Running'`,
    })) {
      const { raw } = await client.workflow.getHandle(workflowId).describe();
      if (raw.pendingActivities?.some(({ activityType }) => activityType?.name === name)) return true;
    }
    return false;
  });
}

const hasDevice = async (pod: string): Promise<boolean> =>
  (await deviceState(pod)).nodes.some((line) => line.endsWith('/dev/kmsg'));

/** Makes the mounts that are to be unmounted, and the one that is made. */
export async function prepare(pods: Pods): Promise<void> {
  const mounted = Object.entries(pods).filter(([name]) => name === 'mount: made' || !isMount(name as Boundary));
  await Promise.all(mounted.map(([, pod]) => putMount(pod)));
  await Promise.all(
    mounted.map(([, pod]) =>
      until(`${pod} to be mounted`, async () => (await findMount(`kill-${pod}`))?.status.phase === 'Mounted'),
    ),
  );
}

/**
 * Brings a mount or unmount to each boundary, all at the same time, by holding whoever would do the next step. Answers the
 * requests, which wait.
 */
export async function reach(
  pods: Pods,
  temporal: Temporal,
  processes: Processes,
  held: Held,
): Promise<readonly Promise<unknown>[]> {
  const [node1, node2, node3] = NODES;
  const worker = (name = ''): number | undefined => processes.nodeWorkers.get(name);
  const requests: Promise<unknown>[] = [];
  const begin = (boundary: Boundary): void => {
    requests.push(isMount(boundary) ? putMount(pods[boundary]) : putUnmount(pods[boundary]));
  };

  await held.hold(node2?.kubelet.pid(), worker(node1?.name), worker(node3?.name));
  begin('mount: slave scheduled, nothing allocated');
  begin('mount: allocated, not attached');
  begin('mount: attached, the workflow does not know');
  begin('unmount: to be detached');
  begin('unmount: detached, the workflow does not know');
  begin('unmount: slave to be deleted');
  await Promise.all([
    ...(['mount: allocated, not attached', 'mount: attached, the workflow does not know'] as const).map(
      async (boundary) => {
        await pending(temporal, pods[boundary], 'attachDevices');
        await until(
          'the slave to be scheduled',
          async () => (await slaveOf(pods[boundary]))?.spec.nodeName !== undefined,
        );
      },
    ),
    until(
      'a slave to be scheduled',
      async () => (await slaveOf(pods['mount: slave scheduled, nothing allocated']))?.spec.nodeName !== undefined,
    ),
    ...(['unmount: to be detached', 'unmount: detached, the workflow does not know'] as const).map((boundary) =>
      pending(temporal, pods[boundary], 'detachDevices'),
    ),
    until(
      'a slave to be deleted',
      async () => (await slaveOf(pods['unmount: slave to be deleted']))?.metadata.deletionTimestamp !== undefined,
    ),
  ]);

  await held.hold(CLUSTER.servers['kube-scheduler'].pid());
  begin('mount: slave made, not scheduled');
  await until(
    'a slave to be made',
    async () => (await slaveOf(pods['mount: slave made, not scheduled'])) !== undefined,
  );

  await held.hold(...processes.controls);
  begin('mount: accepted, nothing done');
  begin('unmount: accepted, nothing done');
  const accepted = pods['mount: accepted, nothing done'];
  await until('the mount to be accepted', async () => (await temporal.workflowOf(`kill-${accepted}`)) !== undefined);
  held.release(worker(node3?.name));
  await until('a device to be attached', () => hasDevice(pods['mount: attached, the workflow does not know']));
  await until(
    'a device to be detached',
    async () => !(await hasDevice(pods['unmount: detached, the workflow does not know'])),
  );
  return requests;
}
