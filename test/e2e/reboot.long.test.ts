import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, expect, test } from '@jest/globals';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { NODES } from './cluster.ts';
import { canOpen } from './exec.ts';
import { ask, find } from './kube.ts';
import { bringBack } from './nodes.ts';
import {
  busybox,
  deviceMount,
  expectNothingMounted,
  FUSE,
  mountOk,
  PODS,
  podPath,
  podReady,
  slavesOf,
  unmount,
} from './pods.ts';
import { losePower } from './power.ts';
import { expectNoPods, Targets } from './targets.ts';
import { until } from './until.ts';

const targets = new Targets();
afterEach(() => targets.remove());
afterAll(expectNoPods);

interface PodStatus {
  readonly status: {
    readonly phase: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

/** A pod that waits for the device until the scheduler finds it on this node. */
async function createOwner(node: ClusterNode): Promise<string> {
  const name = `owner-${randomBytes(4).toString('hex')}`;
  await ask('POST', PODS, {
    metadata: { name },
    spec: {
      terminationGracePeriodSeconds: 0,
      nodeSelector: { 'kubernetes.io/hostname': node.name },
      containers: [busybox(['sleep', '100000'], { resources: { limits: { [FUSE]: '1' } } })],
    },
  });
  return targets.add(name);
}

/** Slaves that the kubelet has refused or ended hold nothing. */
async function holds(pod: string): Promise<boolean> {
  const slaves = await Promise.all((await slavesOf(pod)).map((name) => find<PodStatus>(podPath(name))));
  return slaves.some((slave) => slave !== undefined && !['Failed', 'Succeeded'].includes(slave.status.phase));
}

async function scheduled(pod: string): Promise<string | undefined> {
  const conditions = (await find<PodStatus>(podPath(pod)))?.status.conditions ?? [];
  return conditions.find(({ type }) => type === 'PodScheduled')?.status;
}

/** Whether the mount is whole or undone; `undefined` while it is neither. */
async function settled(pod: string, mount: string): Promise<'mounted' | 'undone' | undefined> {
  const [phase, isHeld] = [(await deviceMount(mount))?.status.phase, await holds(pod)];
  // Its container may be about to start.
  const opens = await canOpen(pod, '/dev/fuse').catch(() => undefined);
  if (phase === 'Mounted' && isHeld && opens) return 'mounted';
  return (phase === undefined || phase === 'Failed') && !isHeld && opens === false ? 'undone' : undefined;
}

const plain = NODES.filter(({ systemd }) => !systemd).map((node): readonly [string, ClusterNode] => [node.name, node]);

test.each(plain)(
  '%s loses its power with a mount: that is whole or undone afterwards, and the device has one owner',
  async (_name, node) => {
    const pod = await targets.start(node.name);
    const { metadata } = await mountOk(pod, FUSE, '&wait_second=30');
    expect(await canOpen(pod, '/dev/fuse')).toBe(true);
    try {
      await losePower(node);
    } finally {
      await bringBack(node);
    }
    await podReady(pod);
    const became = await until('the mount to be whole or undone', () => settled(pod, metadata.name), 120_000);
    const other = await createOwner(node);
    if (became === 'mounted') {
      await until('the scheduler to refuse the next pod', async () => (await scheduled(other)) === 'False');
      expect((await unmount(pod, '&wait_second=30')).status).toBe(200);
    }
    await podReady(other);
    await expectNothingMounted(pod);
    expect(await canOpen(other, '/dev/fuse')).toBe(true);
  },
  400_000,
);
