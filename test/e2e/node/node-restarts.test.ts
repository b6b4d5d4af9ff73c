import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { hasCondition } from '../../../deploy/local/kube-api.ts';
import { stopProcess } from '../../stop-process.ts';
import { place } from '../daemon-sets.ts';
import { containerIdOf, deviceState } from '../device-state.ts';
import { canOpen } from '../exec.ts';
import { ask, failureIn, find, messageOf } from '../kube.ts';
import { laneNode, NAMESPACE } from '../lane.ts';
import { nodeObject } from '../nodes.ts';
import { loadOpenerImage, openAnswers, startOpener } from '../opener/image.ts';
import {
  deviceMount,
  eventsOf,
  FUSE,
  mount,
  mountOk,
  podPath,
  type ShownMount,
  slavesGone,
  slavesOf,
  unmount,
} from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

/** Less than a slave requests. */
const FEW_CPUS = '1m';

/** What a pod has seen of its device shows in its log by then. */
const UNSEEN_MS = 10_000;

const node = laneNode();
const targets = new Targets();
let opener: string;

beforeAll(async () => {
  opener = await loadOpenerImage([node]);
});

afterEach(() => targets.remove());
afterAll(expectNoPods);

/** Once it has seen that there is no device: it could miss that if the mount came first. */
async function startedOpener(): Promise<string> {
  const pod = targets.add(await startOpener(node.name, opener));
  await answers(pod, 'ENOENT');
  return pod;
}

const answersOf = async (pod: string): Promise<string[]> => (await openAnswers(pod)).map(({ answer }) => answer);

async function answers(pod: string, ...expected: string[]): Promise<void> {
  await until(`${pod} to be answered ${expected.join(', ')}`, async () => {
    return JSON.stringify(await answersOf(pod)) === JSON.stringify(expected);
  });
}

/** A kubelet that starts admits a slave that does not run yet anew, and refuses it as long as the plugin is not back. */
async function slavesRun(pod: string): Promise<void> {
  for (const slave of await slavesOf(pod)) {
    const runs = async (): Promise<boolean> => hasCondition(await find(podPath(slave)), 'ContainersReady');
    await until(`slave ${slave} to run`, runs);
  }
}

async function restartContainerd(): Promise<void> {
  await node.containerd.stop('SIGKILL');
  await until(`containerd of ${node.name} to answer`, async () => {
    node.containerd.start();
    return node.ctr('version').catch(() => undefined);
  });
}

/** A kubelet that has started without its runtime ends again: whatever runs it on a real node tries again, as here. */
async function restartKubelet(): Promise<void> {
  await node.kubelet.stop('SIGKILL');
  const since = Date.now();
  await until(`the kubelet of ${node.name} to report`, async () => {
    node.kubelet.start();
    const object = await nodeObject(node.name);
    const ready = object?.status.conditions.find(({ type }) => type === 'Ready');
    return hasCondition(object, 'Ready') && Date.parse(ready?.lastHeartbeatTime ?? '') + 1_000 > since;
  });
}

/** What the scheduler believes the node to have. */
async function allocatable(resource: string): Promise<string | undefined> {
  return (await nodeObject(node.name))?.status.allocatable[resource];
}

test('kubelet and containerd killed while a device is mounted: its user notices nothing', async () => {
  const pod = await startedOpener();
  const before = await deviceState(pod);
  const { metadata } = await mountOk(pod, FUSE);
  await answers(pod, 'ENOENT', 'opened');
  await slavesRun(pod);
  await restartContainerd();
  await restartKubelet();
  // Both work again when a pod starts.
  const other = await targets.start(node.name);
  await answers(pod, 'ENOENT', 'opened');
  expect(await deviceMount(metadata.name)).toMatchObject({ status: { phase: 'Mounted' } });
  expect((await unmount(pod, '&force=1&wait_second=30')).status).toBe(200);
  expect(await deviceState(pod)).toEqual(before);
  await slavesGone(pod);
  await mountOk(other, FUSE, '&wait_second=55');
});

test('a kubelet restarted without its device plugin gives the device to nobody else', async () => {
  const [pod, other] = await Promise.all([startedOpener(), targets.start(node.name)]);
  await mountOk(pod, FUSE);
  await answers(pod, 'ENOENT', 'opened');
  await slavesRun(pod);
  await place('hostdev-device-plugin', node.name, 'away');
  try {
    await restartKubelet();
    await until('the device to be no longer offered', async () => (await allocatable(FUSE)) === '0');
    // Not long enough to wait for the plugin; on a busy machine not for the scheduler's words either.
    expect(['InsufficientDevices', 'Timeout']).toContain(failureIn(await mount(other, FUSE, '&wait_second=3')));
  } finally {
    await place('hostdev-device-plugin', node.name, 'here');
  }
  await until('the device to be offered again', async () => (await allocatable(FUSE)) === '1');
  expect(messageOf(await mount(other, FUSE))).toMatch(/Insufficient hostdev\.k8s\.io\/dev_fuse/);
  await answers(pod, 'ENOENT', 'opened');
  expect((await unmount(pod, '&force=1')).status).toBe(200);
  await slavesGone(pod);
  await mountOk(other, FUSE);
});

test('a mount waits for a device plugin that restarts', async () => {
  const pod = await targets.start(node.name);
  const { status } = await until('a mount to outlast a restart', () => mountOverRestart(pod));
  expect(await slavesOf(pod)).toEqual(status.slaves.map((slave) => slave.name));
  expect(await canOpen(pod, '/dev/fuse')).toBe(true);
});

/** A mount waits 20 s. A plugin that takes longer, as on a busy machine, comes too late for it: `undefined`. */
async function mountOverRestart(pod: string): Promise<DeviceMount | undefined> {
  const name = `outlasts-${randomBytes(4).toString('hex')}`;
  await place('hostdev-device-plugin', node.name, 'away');
  const since = performance.now();
  const mounting = mount(pod, FUSE, '', { name });
  try {
    await until('the mount to say why it waits', async () => (await deviceMount(name))?.status.message !== undefined);
  } finally {
    await place('hostdev-device-plugin', node.name, 'here');
  }
  const tookLong = performance.now() - since > 10_000;
  const answer = await mounting;
  if (answer.status !== 200 && tookLong) return undefined;
  expect(answer).toMatchObject({ status: 200 });
  return answer.body as DeviceMount;
}

test('a slave that the kubelet rejects after it has allocated gives nothing', async () => {
  const [pod, other] = await Promise.all([startedOpener(), targets.start(node.name)]);
  const before = await deviceState(pod);
  expect((await refusedWithoutCpu(pod)).message).toMatch(/OutOfcpu/);
  await slavesGone(pod);
  expect(await deviceState(pod)).toEqual(before);
  expect((await answersOf(pod)).at(-1)).toBe('ENOENT');
  await until('the kubelet to tell its CPUs', async () => (await allocatable('cpu')) !== FEW_CPUS);
  await mountOk(other, FUSE);
});

/** The kubelet may tell its CPUs before it looks at the slave; then the mount is right, and it is tried again. */
async function refusedWithoutCpu(pod: string): Promise<ShownMount['status']> {
  return until('the kubelet to refuse a slave', async () => {
    const name = await mountWithoutCpu(pod);
    const status = await until(`${name} to be made or refused`, async () => {
      const now = (await deviceMount(name))?.status;
      return (now?.phase === 'Mounted' || now?.phase === 'Failed') && now;
    });
    if (status.phase !== 'Mounted') return status;
    expect((await unmount(pod, '&force=1')).status).toBe(200);
    await slavesGone(pod);
    return undefined;
  });
}

/**
 * A mount whose slave is bound by hand to a node that has no CPU left for it. No scheduler knows the name in its spec, and
 * the kubelet is stopped until it finds both. It allocates devices first, and looks at CPUs then. Answers the mount's name.
 */
async function mountWithoutCpu(pod: string): Promise<string> {
  const kubelet = node.kubelet.pid() ?? 0;
  await stopProcess(kubelet);
  try {
    const patches = [{ op: 'replace', path: '/spec/schedulerName', value: 'nobody' }];
    // It must not end before all of this is done.
    const { metadata } = await mountOk(pod, FUSE, '&wait_second=0', { patches });
    const slave = await until('the slave to be there', async () => (await slavesOf(pod))[0]);
    await ask('PATCH', `/api/v1/nodes/${node.name}/status`, { status: { allocatable: { cpu: FEW_CPUS } } });
    const binding = { metadata: { name: slave, namespace: NAMESPACE }, target: { kind: 'Node', name: node.name } };
    await ask('POST', `${podPath(slave)}/binding`, { apiVersion: 'v1', kind: 'Binding', ...binding });
    return metadata.name;
  } finally {
    process.kill(kubelet, 'SIGCONT');
  }
}

/** For the node whose containers are scopes of a systemd; kubelets with cgroupfs know nothing of it. */
if (node.systemd)
  describe('systemctl', () => {
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
    ])('%s takes the device away until the node worker looks again', async (_name, commandsFor) => {
      // systemd writes its own program anew, so what is right afterwards is what a container without a mount has then.
      const [pod, twin] = [await startedOpener(), await startedOpener()];
      expect(await deviceState(pod)).toEqual(await deviceState(twin));
      const { spec } = await mountOk(pod, FUSE);
      await answers(pod, 'ENOENT', 'opened');
      for (let round = 1; round <= 3; round++) {
        const seen = (await openAnswers(pod)).length;
        let changedMs = -Infinity;
        await until('systemd to have taken the device away, and its return', async () => {
          const since = await openAnswers(pod);
          // Again, when the node worker has mended it before the pod has tried to open it.
          if (since.length === seen && performance.now() - changedMs > UNSEEN_MS) {
            for (const command of await commandsFor([pod, twin])) await node.run('systemctl', command);
            changedMs = performance.now();
          }
          return since.length >= seen + 2 && since.at(-1)?.answer === 'opened';
        });
        const [taken, returned] = (await openAnswers(pod)).slice(seen);
        expect(taken?.answer).toBe('EPERM');
        // How long that takes, `npm run bench -- node` measures.
        expect(returned?.answer).toBe('opened');
      }
      await until('an Event to tell of it', async () =>
        (await eventsOf(spec.podUid, 'MendDevice')).join().includes('Healed at'),
      );
      expect((await unmount(pod, '&force=1')).status).toBe(200);
      expect(await deviceState(pod)).toEqual(await deviceState(twin));
    });
  });
