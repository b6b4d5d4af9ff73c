import { writeFileSync } from 'node:fs';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { mountWorkflowId } from '../../contract/names.ts';
import { CLUSTER_NAME } from '../../deploy/local/addresses.ts';
import { CLUSTER, NODES } from '../e2e/cluster.ts';
import { PRODUCT_NAMESPACE, podsOf, rolledOut } from '../e2e/daemon-sets.ts';
import { ask } from '../e2e/kube.ts';
import { apiAvailable } from '../e2e/nodes.ts';
import { deletePod, FUSE, startPod } from '../e2e/pods.ts';
import { Temporal } from '../e2e/temporal.ts';
import { until } from '../e2e/until.ts';
import { type Figure, measured } from './figure.ts';
import { cycle, put, watched } from './mount.ts';
import { chosenNodes, type DeviceType, type Options } from './options.ts';
import { type HistoryEvent, isSettled, type Recording, spansOf } from './trace-spans.ts';
import { traceSvg, traceTable } from './trace-svg.ts';

/** Mounts between the first one that is recorded and the second: both replicas of everything have had some. */
const WARM_UP = 20;
const DEPLOYMENTS = ['device-mounter-apiserver', 'device-mounter-control'] as const;

/**
 * Draws where the time of a mount goes, of the first one after a start of the API servers and control workers, which are restarted for it, and
 * of a later one. Needs a cluster, see `npm start`, on a machine that has nothing else to do.
 */
export async function benchTrace(options: Options): Promise<readonly Figure[]> {
  const [node] = chosenNodes(NODES, options).toReversed();
  const temporal = new Temporal();
  const pod = await startPod(node?.name ?? '');
  try {
    await restartProduct();
    const first = await recorded(pod, options.type, temporal);
    await warmUp(pod, options.type);
    const later = await recorded(pod, options.type, temporal);
    const panels = [
      { title: `First ${options.type} mount after a start (${node?.name})`, spans: spansOf(first) },
      { title: `${options.type} mount ${WARM_UP + 2} (${node?.name})`, spans: spansOf(later) },
    ];
    writeFileSync(options.out, traceSvg(panels));
    if (!options.json) console.log(`${panels.map(traceTable).join('\n\n')}\n`);
    return [measured('trace.first-mount', tookMs(first), 'ms'), measured('trace.later-mount', tookMs(later), 'ms')];
  } finally {
    await deletePod(pod);
    await temporal.close();
    CLUSTER.api.close();
  }
}

const tookMs = ({ requestedMs, answeredMs }: Recording): number => answeredMs - requestedMs;

/** As `kubectl rollout restart`; resolves once the new pods are ready and the old ones gone. */
async function restartProduct(): Promise<void> {
  const metadata = { annotations: { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() } };
  for (const name of DEPLOYMENTS) {
    const path = `/apis/apps/v1/namespaces/${PRODUCT_NAMESPACE}/deployments/${name}`;
    const { spec } = await ask<{ spec: { replicas: number } }>('PATCH', path, { spec: { template: { metadata } } });
    await rolledOut('deployments', name);
    const isAlone = async (): Promise<boolean> => (await podsOf(name)).length === spec.replicas;
    await until(`the old pods of ${name} to be gone`, isAlone, 120_000);
  }
  await apiAvailable();
}

async function warmUp(pod: string, type: DeviceType): Promise<void> {
  await watched(pod, async (slaves) => {
    for (let mount = 0; mount < WARM_UP; mount++) await cycle(pod, type, slaves);
  });
}

/** Mounts, unmounts, and answers what was to be seen of the mount. */
function recorded(pod: string, type: DeviceType, temporal: Temporal): Promise<Recording> {
  return watched(pod, async (slaves) => {
    const requestedMs = Date.now();
    const { metadata } = await put<DeviceMount>(pod, 'mount', type, { resources: { [FUSE]: '1' } });
    const answeredMs = Date.now();
    await slaves.running();
    const events = await until(`the steps of ${metadata.name} to end`, async () => {
      const read = await historyOf(metadata, temporal);
      return isSettled(read) && read;
    });
    const recording = { requestedMs, answeredMs, events, slaves: [...slaves.seen] };
    await put(pod, 'unmount', type, {});
    await slaves.gone();
    return recording;
  });
}

async function historyOf(
  { namespace, name }: DeviceMount['metadata'],
  { client }: Temporal,
): Promise<readonly HistoryEvent[]> {
  const handle = client.workflow.getHandle(mountWorkflowId(CLUSTER_NAME, namespace, name));
  const history = await handle.fetchHistory();
  // Its own conversion is what Protobuf calls JSON; types of it come with no dependency of ours.
  return (JSON.parse(JSON.stringify(history)) as { readonly events: readonly HistoryEvent[] }).events;
}
