import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { ANNOTATIONS } from '../../../contract/names.ts';
import { SlaveWatch } from '../../../node-worker/cluster/slave-watch.ts';
import { AllocationGuard } from '../../../node-worker/guards/allocation-guard.ts';
import { SlaveGuard } from '../../../node-worker/guards/slave-guard.ts';
import { Changes } from '../../../node-worker/kubelet/changes.ts';
import { FUSE_RESOURCE } from '../../node-worker/memory-node.ts';
import { cleanUp } from '../container.ts';
import { policyOf, until } from '../devices.ts';
import { CGROUP_VERSIONS } from '../places.ts';
import { KubeletFiles } from './kubelet.ts';
import { KernelNode } from './node.ts';
import { Pods } from './pods.ts';

const MOUNT = { namespace: 'default', name: 'm1' };
const SLAVE = { namespace: 'default', name: 's1', uid: 's1-uid' };
const FUSE = { resource: FUSE_RESOURCE, ids: ['/dev/fuse::7'], paths: ['/dev/fuse'] };
const PENDING = { phase: 'Pending' };
const RUNNING = { phase: 'Running' };
/** As kubelets report pods that they reject after they have allocated devices to them (pkg/kubelet, `rejectPod`). */
const REJECTIONS = [
  ['OutOfcpu', "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 900, capacity: 2000"],
  [
    'TaintToleration',
    'Pod was rejected: Predicate TaintToleration failed: node(s) had taints that the pod did not tolerate',
  ],
  [
    'UnexpectedAdmissionError',
    'Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices, which is unexpected',
  ],
] as const;
const rejected = ([reason, message]: (typeof REJECTIONS)[number]) => ({ phase: 'Failed', reason, message });

beforeAll(cleanUp);
afterAll(cleanUp);

/** Everything is real but kube-apiserver and the processes that write the kubelet's files. */
describe.each(CGROUP_VERSIONS)('a device is never granted twice: on cgroup v%i', (cgroupVersion) => {
  let node: KernelNode;
  let target: NonNullable<KernelNode['target']>;
  let before: readonly string[];
  let files: KubeletFiles;
  let pods: Pods;
  let stop: () => Promise<void>;

  beforeEach(async () => {
    node = await KernelNode.make();
    target = node.target = await node.start({ cgroupVersion });
    before = policyOf(target);
    files = new KubeletFiles();
    pods = new Pods();
    pods.set('web-0', 'web-uid', RUNNING);
    setSlave(PENDING);
    stop = startNodeWorker();
  });
  afterEach(async () => {
    await stop();
    await node.stop();
    files.remove();
  });

  const setSlave = (status: object): void =>
    pods.set(SLAVE.name, SLAVE.uid, status, { annotations: { [ANNOTATIONS.mount]: MOUNT.name } });

  /** The parts of main.ts that watch the kubelet and the slaves. */
  function startNodeWorker(): () => Promise<void> {
    const changes = new Changes([files.pods, files.plugins], (err) => expect(err).toBeUndefined());
    const watch: SlaveWatch = new SlaveWatch({
      source: pods.slaves,
      onEnd: (uid, why) => guard.slaveEnded(uid, why),
      onList: () => undefined,
      onChange: () => changes.notify(),
      onError: (err) => expect(err).toBeUndefined(),
      retryMs: 10,
      periodMs: 60_000,
    });
    node.memory.deps = {
      ...node.deps,
      pods: pods.reader,
      kubelet: files.kubelet,
      endOfSlave: (uid) => watch.endOf(uid),
      slaveRuns: (uid) => watch.runs(uid),
      changes,
    };
    const { deps } = node;
    const guard = new SlaveGuard({
      deps,
      tellOwner: async (_mount, notice) => void node.told.push(notice),
      retryMs: 10,
    });
    const release = guard.release.bind(guard);
    const allocations = new AllocationGuard({ deps, release, pollMs: 60_000 });
    watch.start();
    allocations.start();
    return async () => {
      await allocations.stop();
      await watch.stop();
      await guard.stop();
      changes.close();
    };
  }

  const opens = async (): Promise<boolean> => (await target.run('true </dev/fuse && echo opened')).includes('opened');
  async function expectNothingGranted(): Promise<void> {
    expect(policyOf(target)).toEqual(before);
    expect(await target.run('ls /dev')).not.toContain('fuse');
    expect(node.deps.store.records()).toEqual([]);
  }
  async function attached(): Promise<void> {
    files.accept(SLAVE.uid);
    files.allocate({ podUid: SLAVE.uid, ...FUSE });
    await node.attach(SLAVE);
    expect(await opens()).toBe(true);
  }

  /** A process in the container that has the device open. */
  async function hold(): Promise<void> {
    await target.run('sleep 1000 3<>/dev/fuse &');
    await until(users, (count) => count > 0);
  }
  async function users(): Promise<number> {
    const handle = await node.deps.engine.openContainer({ containerId: target.id });
    try {
      return (await node.deps.engine.usersOf(handle, [{ type: 'c', major: 10, minor: 229 }])).length;
    } finally {
      handle.close();
    }
  }

  test.each(REJECTIONS)(
    'a slave rejected after its allocation (%s) gets nothing, though its entry stays',
    async (...why) => {
      files.allocate({ podUid: SLAVE.uid, ...FUSE });
      const attaching = node.attach(SLAVE);
      const refused = expect(attaching).rejects.toMatchObject({
        type: 'SlaveEnded',
        message: expect.stringContaining(why[0]),
      });
      setSlave(rejected(why));
      await refused;
      await expectNothingGranted();
      // By the time of a repetition its directory may be there, made by hand or by an attacker.
      files.accept(SLAVE.uid);
      await expect(node.attach(SLAVE)).rejects.toMatchObject({ type: 'SlaveEnded' });
      await expectNothingGranted();
    },
  );

  test('a slave whose plugin has not registered with a kubelet that restarts gets nothing', async () => {
    files.write('{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}');
    const attaching = node.attach(SLAVE);
    const refused = expect(attaching).rejects.toMatchObject({ type: 'SlaveEnded' });
    files.write('{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{"hostdev.k8s.io/dev_fuse":[]}},"Checksum":2}');
    setSlave(rejected(REJECTIONS[2]));
    await refused;
    await expectNothingGranted();
  });

  test.each(['', '{"Data":{"PodDeviceEntries":[{"PodUID":"s1-u'])(
    'a checkpoint that is %j gives nothing, and is no reason to take anything back',
    async (text) => {
      files.write(text);
      await expect(node.attach(SLAVE)).rejects.toMatchObject({ type: 'KubeletUnavailable' });
      await expectNothingGranted();
      await attached();
      files.write(text);
      await node.look();
      expect(await opens()).toBe(true);
    },
  );

  test('a slave that a restarted kubelet rejects loses what it has, at once', async () => {
    await attached();
    await hold();
    setSlave(rejected(REJECTIONS[2]));
    await until(
      () => node.told.length,
      (count) => count > 0,
    );
    expect(node.told).toMatchObject([{ signal: 'slaveEnding' }]);
    expect(await users()).toBe(0);
    await expectNothingGranted();
  });

  test('a device in the entry of another pod too is not granted', async () => {
    files.accept(SLAVE.uid);
    files.allocate({ podUid: SLAVE.uid, ...FUSE });
    files.allocate({ podUid: 'other-uid', ...FUSE });
    await expect(node.attach(SLAVE)).rejects.toMatchObject({
      type: 'NotAllocated',
      message: expect.stringContaining('is also allocated to the pod other-uid'),
    });
    await expectNothingGranted();
  });

  test.each([
    ['that replaces the one of the dead slave', [SLAVE.uid]],
    ['beside the one of the dead slave', []],
  ])(
    'a device that goes to another pod, by an entry %s, is taken back though kube-apiserver is away',
    async (_, gone) => {
      await attached();
      await hold();
      pods.away = true;
      setSlave({ phase: 'Failed' });
      files.allocate({ podUid: 'other-uid', ...FUSE }, gone);
      await until(
        () => node.told.length,
        (count) => count > 0,
      );
      expect(JSON.stringify(node.told)).toContain(
        'NotAllocated: the kubelet has given a device of hostdev.k8s.io/dev_fuse to the pod other-uid',
      );
      expect(await users()).toBe(0);
      await expectNothingGranted();
      expect(node.deps.store.buried(SLAVE.uid)).toBe(true);
    },
  );

  test('other devices of the plugin may go to other pods', async () => {
    await attached();
    files.allocate({ podUid: 'other-uid', ...FUSE, ids: ['/dev/fuse::8'] });
    files.allocate({ podUid: 'third-uid', ...FUSE, resource: 'example.com/other' });
    await node.look();
    expect(await opens()).toBe(true);
    expect(node.told).toEqual([]);
  });
});
