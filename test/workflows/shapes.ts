import { temporalOwners } from '../../activities/owners.ts';
import { clusterWorkflowId, unmountWorkflowId } from '../../contract/names.ts';
import type { UnmountRequest } from '../../contract/requests.ts';
import { SIGNALS, UPDATES } from '../../contract/workflows.ts';
import type { Harness } from './harness.ts';
import { beforeNewRun, lengthen } from './new-run.ts';
import { eventually } from './outcome.ts';
import { begin, waits } from './queue.ts';
import { CLUSTER, FUSE, mountRequest, NAMESPACE, PUBLIC_KEY, signed, unmountRequest } from './requests.ts';

/** Runs a workflow until it has closed, or does nothing any more. Answers its ID. */
type Shape = (harness: Harness, pod: string) => Promise<string>;

const TUN = 'hostdev.k8s.io/dev_net_tun';

/** Makes a mount, and waits until its pod was told. */
async function mounted(harness: Harness, pod: string, more: Parameters<typeof mountRequest>[1] = {}) {
  const node = await harness.addNode(pod, 1);
  harness.cluster.addDevices(pod, TUN, 1);
  const request = signed(mountRequest(pod, more));
  await harness.mount(request);
  const mount = await harness.recordOf(`${pod}-m`);
  await eventually(() => harness.eventsOf(pod).length === 1);
  return { node, request, mount, handle: harness.handle(`${pod}-m`) };
}

/** Of the mount of a pod, once it has closed. */
async function closed(harness: Harness, pod: string): Promise<string> {
  await harness.closed(`${pod}-m`);
  return harness.handle(`${pod}-m`).workflowId;
}

/** Of an unmount that was made and has succeeded. */
async function unmounted(harness: Harness, pod: string, more: Partial<UnmountRequest> = {}): Promise<string> {
  const request = signed(unmountRequest(pod, more));
  await harness.unmount(request);
  const id = unmountWorkflowId(CLUSTER, NAMESPACE, request.request.id);
  await harness.client.workflow.getHandle(id).result();
  return id;
}

/** A mount that ends by this signal. */
function endedBy(signal: string, ...args: readonly unknown[]): Shape {
  return async (harness, pod) => {
    const { handle } = await mounted(harness, pod);
    await handle.signal(signal, ...args);
    return closed(harness, pod);
  };
}

/** A mount to which something happens just before it goes on in a new run. */
function beforeNew(tell: (handle: ReturnType<Harness['handle']>) => Promise<unknown>): Shape {
  return async (harness, pod) => {
    const { handle } = await mounted(harness, pod, { leaseSeconds: 600 });
    await beforeNewRun(harness, `${pod}-m`, () => tell(handle));
    return closed(harness, pod);
  };
}

const BOTH = { resources: { [FUSE]: '1', [TUN]: '1' }, split: true } as const;

/** Every way that a workflow lives and ends, by the name of the file with its history. */
export const SHAPES: Readonly<Record<string, Shape>> = {
  'mount-unmounted': async (harness, pod) => {
    await mounted(harness, pod, { leaseSeconds: 600 });
    await unmounted(harness, pod);
    return closed(harness, pod);
  },
  'mount-shown': async (harness, pod) => {
    const request = signed(mountRequest(pod, { queue: true }));
    await harness.addNode(pod, 0);
    await begin(harness, request);
    await harness.handle(`${pod}-m`).executeUpdate(UPDATES.shown);
    harness.cluster.addDevices(pod, FUSE, 1);
    await harness.mount(request);
    await eventually(() => harness.eventsOf(pod).length === 1);
    await harness.handle(`${pod}-m`).signal(SIGNALS.project);
    await unmounted(harness, pod);
    return closed(harness, pod);
  },
  'mount-canceled': async (harness, pod) => {
    await (await mounted(harness, pod)).handle.cancel();
    return closed(harness, pod);
  },
  'mount-canceled-untold': async (harness, pod) => {
    const { workflowId } = harness.handle(`${pod}-m`);
    const telling = harness.gates.stop(workflowId, { activity: 'projectMount', when: 'before' });
    const node = await harness.addNode(pod, 1);
    await harness.mount(signed(mountRequest(pod)));
    await telling;
    await harness.handle(`${pod}-m`).cancel();
    await eventually(() => harness.leftOf(pod, node).length === 0);
    harness.gates.open();
    return closed(harness, pod);
  },
  'mount-canceled-in-use': async (harness, pod) => {
    const { node, handle } = await mounted(harness, pod);
    node.busy = true;
    await handle.cancel();
    return closed(harness, pod);
  },
  'mount-refused': async (harness, pod) => {
    await harness.addNode(pod, 0);
    await harness.mount(signed(mountRequest(pod))).catch(() => undefined);
    return closed(harness, pod);
  },
  'mount-begun-again': async (harness, pod) => {
    await harness.addNode(pod, 1);
    harness.cluster.refusePods(pod, 1);
    await harness.mount(signed(mountRequest(pod)));
    await harness.handle(`${pod}-m`).signal(SIGNALS.release);
    return closed(harness, pod);
  },
  'mount-too-late': async (harness, pod) => {
    await harness.addNode(pod, 1);
    const { workflowId } = harness.handle(`${pod}-m`);
    const attached = harness.gates.stop(workflowId, { activity: 'attachDevices', when: 'after' });
    const overMs = Date.now() + 3_000;
    await begin(harness, signed(mountRequest(pod, { deadlineSeconds: 2 })));
    await attached;
    await harness.stopControl();
    harness.gates.open();
    await eventually(() => Date.now() > overMs);
    await harness.startControl();
    return closed(harness, pod);
  },
  'mount-queued-target-gone': async (harness, pod) => {
    await mounted(harness, pod, { queue: true });
    harness.cluster.removePod({ namespace: NAMESPACE, name: pod });
    return closed(harness, pod);
  },
  'mount-queued': async (harness, pod) => {
    await harness.addNode(pod, 0);
    const request = signed(mountRequest(pod, { queue: true }));
    await begin(harness, request);
    await waits(harness, `${pod}-m`);
    harness.cluster.addDevices(pod, FUSE, 1);
    await harness.mount(request);
    await harness.handle(`${pod}-m`).cancel();
    return closed(harness, pod);
  },
  'mount-split': async (harness, pod) => {
    await mounted(harness, pod, BOTH);
    await unmounted(harness, pod, { device: '/dev/tun' });
    await eventually(() => harness.eventsOf(pod).length === 2);
    await unmounted(harness, pod);
    return closed(harness, pod);
  },
  'mount-degraded': async (harness, pod) => {
    const { handle } = await mounted(harness, pod);
    await handle.signal(SIGNALS.degraded, { at: '2026-01-01T00:00:00Z', why: 'the kernel hides its programs' });
    await eventually(() => harness.eventsOf(pod).includes('DeviceDegraded'));
    await handle.cancel();
    return closed(harness, pod);
  },
  'mount-mended': async (harness, pod) => {
    const { handle } = await mounted(harness, pod);
    await handle.signal(SIGNALS.driftHealed, { at: '2026-01-01T00:00:00Z', what: 'the rule was missing' });
    await eventually(() => harness.eventsOf(pod).includes('MendDevice'));
    await handle.cancel();
    return closed(harness, pod);
  },
  'mount-released': endedBy(SIGNALS.release, { by: 'jane', reason: 'done' }),
  'mount-slave-ending': endedBy(SIGNALS.slaveEnding),
  'mount-restarted': endedBy(SIGNALS.containerRestarted, { containerId: 'c2', reapplied: false }),
  'mount-lease-ended': endedBy(SIGNALS.renew, { leaseSeconds: 1 }),
  'mount-busy': async (harness, pod) => {
    const { node, handle } = await mounted(harness, pod);
    node.busy = true;
    await handle.signal(SIGNALS.release, { by: 'jane', reason: 'done' });
    await eventually(async () => JSON.stringify(await handle.query('deviceMount')).includes('in use'));
    await handle.cancel();
    return closed(harness, pod);
  },
  'mount-node-failed': async (harness, pod) => {
    const { node, handle } = await mounted(harness, pod);
    node.failing = 'Internal';
    await handle.cancel();
    const detached = harness.gates.stop(handle.workflowId, { activity: 'nodeState', when: 'after' });
    await detached;
    node.failing = undefined;
    harness.gates.open();
    return closed(harness, pod);
  },
  'mount-reset': async (harness, pod) => {
    await mounted(harness, pod);
    await harness.reset(`${pod}-m`);
    await eventually(() => harness.eventsOf(pod).length === 2);
    await unmounted(harness, pod);
    return closed(harness, pod);
  },
  'mount-adopted': async (harness, pod) => {
    const { request, mount, handle } = await mounted(harness, pod);
    await handle.terminate('by hand');
    const keys = harness.publicKeys;
    harness.publicKeys = [{ key: PUBLIC_KEY, retiredAtMs: Date.now() }];
    await temporalOwners(harness.client, CLUSTER).adopt(request, mount);
    await handle.query('deviceMount');
    await eventually(async () => (await harness.pendingSteps(`${pod}-m`)).length === 0);
    harness.publicKeys = keys;
    await unmounted(harness, pod);
    return closed(harness, pod);
  },
  'mount-new-run': async (harness, pod) => {
    const { handle } = await mounted(harness, pod, { leaseSeconds: 600 });
    const { runId } = await handle.describe();
    await lengthen(harness, `${pod}-m`);
    await eventually(async () => (await handle.describe()).runId !== runId);
    await unmounted(harness, pod);
    return closed(harness, pod);
  },
  'mount-signal-before-new-run': beforeNew((handle) => handle.signal(SIGNALS.targetGone)),
  'mount-cancel-before-new-run': beforeNew((handle) => handle.cancel()),
  unmount: async (harness, pod) => {
    await mounted(harness, pod);
    return unmounted(harness, pod);
  },
  'unmount-device': async (harness, pod) => {
    await mounted(harness, pod, BOTH);
    return unmounted(harness, pod, { device: '/dev/tun' });
  },
  'unmount-forced': async (harness, pod) => {
    const { node } = await mounted(harness, pod);
    node.busy = true;
    return unmounted(harness, pod, { force: true });
  },
  'unmount-busy': async (harness, pod) => {
    const { node } = await mounted(harness, pod);
    node.busy = true;
    const request = signed(unmountRequest(pod));
    await harness.unmount(request).catch(() => undefined);
    const handle = harness.client.workflow.getHandle(unmountWorkflowId(CLUSTER, NAMESPACE, request.request.id));
    await handle.result().catch(() => undefined);
    return handle.workflowId;
  },
  'cluster-claimed': async ({ client, identity }) => {
    const handle = client.workflow.getHandle(clusterWorkflowId(identity.name));
    // Its first step has no answer to wait for.
    await eventually(async () => ((await handle.describe()).historyLength >= 4 ? true : undefined));
    return handle.workflowId;
  },
  'reconcile-freed': async (harness, pod) => {
    await (await mounted(harness, pod)).handle.terminate();
    await harness.reconcile({}, `reconcile/${pod}`);
    return `reconcile/${pod}`;
  },
};
