import type { Client } from '@temporalio/client';
import type { DeviceMountObject } from '../../../contract/device-mount-object.ts';
import { ANNOTATIONS, SLAVE_LABELS } from '../../../contract/names.ts';
import type { ClusterNode } from '../../../deploy/local/node/node.ts';
import type { Grant } from '../../../node-worker/kernel/engine.ts';
import { NODES } from '../../e2e/cluster.ts';
import { type DeviceState, deviceState, mountsIn } from '../../e2e/device-state.ts';
import { ask, listPath } from '../../e2e/kube.ts';
import { mountsPath } from '../../e2e/pods.ts';
import { NAMESPACE } from '../calls.ts';
import { now } from '../clock.ts';
import { ROLE_LABEL, type TargetPods } from '../targets.ts';
import type { Run } from '../witness/runs.ts';
import type { SeenObject, SeenRecord, SeenSlave, SeenTarget, Snapshot } from './agreement.ts';
import { besideTwin } from './beside.ts';

/** A witness whose last try is older does not try any more. */
const FRESH_MS = 1_000;

interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly uid: string }[];
  };
  readonly spec: { readonly nodeName?: string; readonly hostUsers?: boolean };
  readonly status: { readonly containerStatuses?: readonly { readonly containerID?: string }[] };
}

/** Asks kernel, /proc, kube-apiserver, files and Temporal what there is of mounts now. Throws when one of them does not answer. */
export async function takeSnapshot(temporal: Client, pods: TargetPods): Promise<Snapshot> {
  const [slaves, objects, records, workflows, targets] = await Promise.all([
    seenSlaves(),
    seenObjects(),
    Promise.all(NODES.map(recordsOf)),
    openWorkflows(temporal),
    seenTargets(pods),
  ]);
  return { slaves, objects, records: records.flat(), workflows, targets };
}

async function podsWith(labelSelector: string): Promise<readonly Pod[]> {
  return (await ask<{ readonly items: readonly Pod[] }>('GET', listPath(NAMESPACE, 'pods', { labelSelector }))).items;
}

async function seenSlaves(): Promise<SeenSlave[]> {
  const pods = await podsWith(`${SLAVE_LABELS.managedBy}=device-mounter`);
  return pods.map(({ metadata }) => ({
    name: metadata.name,
    uid: metadata.uid,
    mount: metadata.annotations?.[ANNOTATIONS.mount] ?? '',
    targetUids: (metadata.ownerReferences ?? []).map(({ uid }) => uid),
    ending: metadata.deletionTimestamp !== undefined,
  }));
}

async function seenObjects(): Promise<SeenObject[]> {
  const { items } = await ask<{ readonly items: readonly DeviceMountObject[] }>('GET', mountsPath(NAMESPACE));
  return items.map(({ metadata, status }) => ({ mount: metadata.name, phase: status?.phase }));
}

interface RecordFile {
  readonly phase: string;
  readonly containerId: string;
  readonly mount: { readonly namespace: string; readonly name: string };
  readonly slaves: readonly { readonly uid: string }[];
  readonly devices: readonly { readonly grant: Pick<Grant, 'devices' | 'files'> }[];
}

async function recordsOf(node: ClusterNode): Promise<SeenRecord[]> {
  const files = await node.run('sh', ['-c', 'find /var/lib/device-mounter/mounts -type f 2>/dev/null || true']);
  return Promise.all(
    files
      .split('\n')
      .filter(Boolean)
      .map(async (file) => recordIn(node.name, await node.run('cat', [file]))),
  );
}

function recordIn(node: string, text: string): SeenRecord {
  const { phase, containerId, mount, slaves, devices } = JSON.parse(text) as RecordFile;
  const paths = devices.flatMap(({ grant }) => [
    ...grant.devices.map(({ path }) => path),
    ...(grant.files ?? []).filter(({ kind, name }) => kind === 'mount' && name === 'made').map(({ path }) => path),
  ]);
  return {
    node,
    mount: mount.name,
    phase,
    containerId,
    slaveUids: slaves.map(({ uid }) => uid),
    paths: [...new Set(paths)],
  };
}

/** The reconciler begins again and again, and the name of the cluster is held for ever. */
const ALWAYS_OPEN = /^(reconcile|cluster)\//;

async function openWorkflows(temporal: Client): Promise<string[]> {
  const ids: string[] = [];
  for await (const { workflowId } of temporal.workflow.list({ query: "ExecutionStatus = 'Running'" })) {
    // What has closed since it was listed is not open: lists lag behind.
    const { status } = await temporal.workflow.getHandle(workflowId).describe();
    if (status.name === 'RUNNING' && !ALWAYS_OPEN.test(workflowId)) ids.push(workflowId);
  }
  return ids;
}

async function seenTargets(pods: TargetPods): Promise<SeenTarget[]> {
  const [targets, twins] = await Promise.all([podsWith(`${ROLE_LABEL}=target`), podsWith(`${ROLE_LABEL}=twin`)]);
  const bare = new Map<string, DeviceState>();
  for (const twin of twins) bare.set(kindOf(twin), await wholeState(twin.metadata.name));
  return Promise.all(
    targets.map(async (target) => {
      const { name, uid } = target.metadata;
      const twin = bare.get(kindOf(target));
      if (twin === undefined) throw new Error(`Cannot compare ${name}: it has no twin`);
      return {
        name,
        uid,
        node: target.spec.nodeName ?? '',
        containerId: target.status.containerStatuses?.[0]?.containerID?.replace(/^[a-z-]+:\/\//, '') ?? '',
        beside: besideTwin(await wholeState(name), twin),
        could: couldNow(pods.runsOf(name)),
      };
    }),
  );
}

/** With all that is mounted in the container: the files of a device, too. */
const wholeState = async (pod: string): Promise<DeviceState> => ({
  ...(await deviceState(pod)),
  mounts: await mountsIn(pod),
});

const kindOf = ({ spec }: Pod): string => `${spec.nodeName} ${spec.hostUsers ?? true}`;

/** The last answer of the kernel to a target. */
function couldNow(runs: readonly Run[]): boolean | undefined {
  const last = runs
    .filter(({ how }) => how === 'open')
    .toSorted((a, b) => a.lastMs[1] - b.lastMs[1])
    .at(-1);
  return last === undefined || now() - last.lastMs[1] > FRESH_MS ? undefined : last.could;
}
