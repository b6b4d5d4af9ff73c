import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { CLUSTER, NODES } from './cluster.ts';
import { place } from './daemon-sets.ts';
import { containerIdOf, deviceState } from './device-state.ts';
import { getJson, kubectlOk, type Outcome } from './kubectl.ts';
import { loadOpenerImage, openAnswers, startOpener } from './opener/image.ts';
import { deviceMount, FUSE, mount, mountOk, slavesGone, slavesOf, unmount } from './pods.ts';
import { Targets } from './targets.ts';
import { until } from './until.ts';

/** Less than a slave requests. */
const FEW_CPUS = '1m';

const targets = new Targets();
let opener: string;

beforeAll(async () => {
  opener = await loadOpenerImage();
});

afterEach(() => targets.remove());

async function openerOn(node: ClusterNode): Promise<string> {
  return targets.add(await startOpener(node.name, opener));
}

const otherOn = (node: ClusterNode): Promise<string> => targets.start(node.name);

const answersOf = async (pod: string): Promise<string[]> => (await openAnswers(pod)).map(({ answer }) => answer);

async function answers(pod: string, ...expected: string[]): Promise<void> {
  await until(`${pod} to be answered ${expected.join(', ')}`, async () => {
    return JSON.stringify(await answersOf(pod)) === JSON.stringify(expected);
  });
}

/** A kubelet that starts admits a slave that does not run yet anew, and refuses it as long as the plugin is not back. */
async function slavesReady(pod: string): Promise<void> {
  for (const slave of await slavesOf(pod)) await kubectlOk(['wait', '--for=condition=Ready', `pod/${slave}`]);
}

async function restartContainerd(node: ClusterNode): Promise<void> {
  await node.containerd.stop('SIGKILL');
  await until(`containerd of ${node.name} to answer`, async () => {
    node.containerd.start();
    return node.ctr('version').catch(() => undefined);
  });
}

/** A kubelet that has started without its runtime ends again: whatever runs it on a real node tries again, as here. */
async function restartKubelet(node: ClusterNode): Promise<void> {
  await node.kubelet.stop('SIGKILL');
  const since = Date.now();
  await until(`the kubelet of ${node.name} to report`, async () => {
    node.kubelet.start();
    const object = await getJson<NodeObject>(['node', node.name]);
    const ready = object?.status.conditions.find(({ type }) => type === 'Ready');
    return ready?.status === 'True' && Date.parse(ready.lastHeartbeatTime) + 1_000 > since;
  });
}

interface NodeObject {
  readonly status: {
    readonly allocatable: Readonly<Record<string, string>>;
    readonly conditions: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastHeartbeatTime: string;
    }[];
  };
}

/** What the scheduler believes `node` to have. */
async function allocatable(node: ClusterNode, resource: string): Promise<string | undefined> {
  const object = await getJson<NodeObject>(['node', node.name]);
  return object?.status.allocatable[resource];
}

describe.each(NODES.map((node) => [node.name, node] as const))('on %s', (_name, node) => {
  test('kubelet and containerd killed while a device is mounted: its user notices nothing', async () => {
    const pod = await openerOn(node);
    const before = await deviceState(pod);
    const { metadata } = await mountOk(pod, FUSE);
    await answers(pod, 'ENOENT', 'opened');
    await slavesReady(pod);
    await restartContainerd(node);
    await restartKubelet(node);
    // Both work again when a pod starts.
    const other = await otherOn(node);
    await answers(pod, 'ENOENT', 'opened');
    expect(await deviceMount(metadata.name)).toMatchObject({ status: { phase: 'Mounted' } });
    expect((await unmount(pod, '&force=1&wait_second=30')).code).toBe(0);
    expect(await deviceState(pod)).toEqual(before);
    await slavesGone(pod);
    await mountOk(other, FUSE);
  });

  test('a kubelet restarted without its device plugin gives the device to nobody else', async () => {
    const [pod, other] = [await openerOn(node), await otherOn(node)];
    await mountOk(pod, FUSE);
    await answers(pod, 'ENOENT', 'opened');
    await slavesReady(pod);
    await place('hostdev-device-plugin', 'nowhere');
    try {
      await restartKubelet(node);
      await until('the device to be no longer offered', async () => (await allocatable(node, FUSE)) === '0');
      const refused = await mount(other, FUSE);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(/Insufficient hostdev\.k8s\.io\/dev_fuse/);
    } finally {
      await place('hostdev-device-plugin', 'everywhere');
    }
    await until('the device to be offered again', async () => (await allocatable(node, FUSE)) === '1');
    expect((await mount(other, FUSE)).stderr).toMatch(/Insufficient hostdev\.k8s\.io\/dev_fuse/);
    await answers(pod, 'ENOENT', 'opened');
    expect((await unmount(pod, '&force=1')).code).toBe(0);
    await slavesGone(pod);
    await mountOk(other, FUSE);
  });

  test('a slave that the kubelet rejects after it has allocated gives nothing', async () => {
    const [pod, other] = [await openerOn(node), await otherOn(node)];
    const before = await deviceState(pod);
    const refused = await refusedWithoutCpu(node, pod);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/OutOfcpu/);
    await slavesGone(pod);
    expect(await deviceState(pod)).toEqual(before);
    expect((await answersOf(pod)).at(-1)).toBe('ENOENT');
    await until('the kubelet to tell its CPUs', async () => (await allocatable(node, 'cpu')) !== FEW_CPUS);
    await mountOk(other, FUSE);
  });
});

/** The kubelet may tell its CPUs before it looks at the slave; then the mount is right, and it is tried again. */
async function refusedWithoutCpu(node: ClusterNode, pod: string): Promise<Outcome> {
  return until('the kubelet to refuse a slave', async () => {
    const outcome = await mountWithoutCpu(node, pod);
    if (outcome.code !== 0) return outcome;
    expect((await unmount(pod, '&force=1')).code).toBe(0);
    await slavesGone(pod);
    return undefined;
  });
}

/**
 * A mount whose slave is bound by hand to a node that has no CPU left for it: the scheduler would not have done that, so it
 * is stopped, and the kubelet until it finds both. It allocates devices first, and looks at CPUs then.
 */
async function mountWithoutCpu(node: ClusterNode, pod: string): Promise<Outcome> {
  const stopped = [node.kubelet.pid(), CLUSTER.servers['kube-scheduler'].pid()].filter((pid) => pid !== undefined);
  for (const pid of stopped) process.kill(pid, 'SIGSTOP');
  try {
    const mounting = mount(pod, FUSE, '&wait_second=30');
    const slave = await until('the slave to be there', async () => (await slavesOf(pod))[0]);
    const patch = JSON.stringify({ status: { allocatable: { cpu: FEW_CPUS } } });
    await kubectlOk(['patch', 'node', node.name, '--subresource=status', '--type=merge', `--patch=${patch}`]);
    const binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: slave },
      target: { kind: 'Node', name: node.name },
    };
    const path = `/api/v1/namespaces/default/pods/${slave}/binding`;
    await kubectlOk(['create', '--raw', path, '-f', '-'], JSON.stringify(binding));
    for (const pid of stopped) process.kill(pid, 'SIGCONT');
    return await mounting;
  } finally {
    for (const pid of stopped) process.kill(pid, 'SIGCONT');
  }
}

describe('on the node with systemd', () => {
  const node = NODES.find(({ systemd }) => systemd);

  test.each([
    ['daemon-reload', async () => [['daemon-reload']]],
    [
      'set-property',
      async (all: readonly string[]) =>
        Promise.all(
          all.map(async (pod) => [
            'set-property',
            '--runtime',
            `cri-containerd-${await containerIdOf(pod)}.scope`,
            'TasksMax=1000',
          ]),
        ),
    ],
  ])('systemctl %s takes the device away for at most two seconds', async (_name, commandsFor) => {
    if (node === undefined) throw new Error('Cannot test systemd: the cluster must be started with --nodes 3');
    // systemd writes its own program anew, so what is right afterwards is what a container without a mount has then.
    const [pod, twin] = [await openerOn(node), await openerOn(node)];
    expect(await deviceState(pod)).toEqual(await deviceState(twin));
    await mountOk(pod, FUSE);
    await answers(pod, 'ENOENT', 'opened');
    for (let round = 1; round <= 3; round++) {
      const seen = (await openAnswers(pod)).length;
      for (const command of await commandsFor([pod, twin])) await node.run('systemctl', command);
      await until('systemd to have taken the device away, and its return', async () => {
        const since = await openAnswers(pod);
        return since.length >= seen + 2 && since.at(-1)?.answer === 'opened';
      });
      const [taken, returned] = (await openAnswers(pod)).slice(seen);
      expect(taken?.answer).toBe('EPERM');
      expect((returned?.atMs ?? Number.NaN) - (taken?.atMs ?? 0)).toBeLessThanOrEqual(2_000);
    }
    const events = await kubectlOk(['get', 'events', `--field-selector=involvedObject.name=${pod},reason=MendDevice`]);
    expect(events).toContain('Healed at');
    expect((await unmount(pod, '&force=1')).code).toBe(0);
    expect(await deviceState(pod)).toEqual(await deviceState(twin));
  });
});
