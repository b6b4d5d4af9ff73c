import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { MountRequest } from '../../contract/requests.ts';
import type { Allocation } from '../../node-worker/kubelet/checkpoint.ts';
import { attach, attachAgain } from '../../node-worker/steps/attach.ts';
import { detach } from '../../node-worker/steps/detach.ts';
import { allocationOf } from '../node-worker/memory-host.ts';
import { inTime, MemoryNode, mountRequest } from '../node-worker/memory-node.ts';
import { byAscendRuntime, runtimeOfAscend } from './ascend-runtime.ts';
import { cleanUp, runtimeOf, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { policyOf } from './devices.ts';
import { engine } from './engine.ts';
import { IMAGES, treeOf } from './injected.ts';
import { DRIVER, makeNpuHost, type Name, NODES, ownDevice, SHARED, specs } from './npu-host.ts';
import { CGROUP_VERSIONS, WORK } from './places.ts';

const REAL = 'huawei.com/AscendReal';

let hostRoot: string;
beforeAll(() => {
  cleanUp();
  mkdirSync(WORK, { recursive: true });
  hostRoot = makeNpuHost();
});
afterAll(cleanUp);

let node: MemoryNode;
let container: TestContainer;
let slaveContainer: TestContainer | undefined;
async function start(options: StartOptions): Promise<void> {
  container = await startContainer(options);
  node = await MemoryNode.make();
  node.container = runtimeOf(container);
  const containers = {
    ...node.deps.containers,
    allRunning: async () => (slaveContainer === undefined ? [] : [runtimeOf(slaveContainer)]),
  };
  node.deps = { ...node.deps, engine, hostRoot, containers };
}
afterEach(async () => {
  await container.stop();
  await slaveContainer?.stop();
  slaveContainer = undefined;
  node.remove();
});

function addSlave(name: string, id: string, answer: Partial<Allocation>, mount = 'm1', real?: string): SlaveRef {
  const uid = `${name}-uid`;
  node.addPod({ name, uid, mount, ...(real !== undefined && { annotations: { [REAL]: real } }) });
  node.accepted.add(uid);
  node.allocations.push({ ...allocationOf('huawei.com/Ascend910', [id], answer), podUid: uid });
  return { namespace: 'default', name, uid };
}

function mount(name: string, slave: SlaveRef, change: Partial<MountRequest> = {}) {
  const signed = mountRequest({
    name,
    deviceType: 'ASCEND_NPU',
    resources: { 'huawei.com/Ascend910': '1' },
    ...change,
  });
  return attach(node.deps, { signed, slaves: [slave] }, { signal: inTime() });
}

const unmount = (name: string, slave: SlaveRef) =>
  detach(node.deps, { mounts: [{ namespace: 'default', name }], slaves: [slave], force: false });

/** What the kernel says to an open of each; the shell would make a file that is not there. */
async function opened(...names: readonly string[]): Promise<readonly string[]> {
  const said: string[] = [];
  for (const path of names.map((name) => `/dev/${name}`))
    said.push(await container.run(`ls ${path} >/dev/null && test -c ${path} && true <>${path} && echo opened`));
  return said;
}
const all = (pattern: RegExp, count: number): readonly unknown[] =>
  Array.from({ length: count }, () => expect.stringMatching(pattern));
const ALLOWED = /opened|No such device/;
const ABSENT = /No such file/;

/** Even with a node of its own making. */
async function refusedByRule(...names: readonly Name[]): Promise<void> {
  for (const name of names) {
    const [major, minor] = NODES[name];
    const said = await container.run(`mknod /tmp/${name} c ${major} ${minor}; true <>/tmp/${name}; rm /tmp/${name}`);
    expect(said).toMatch(/Operation not permitted/);
  }
}

/** Numbers in hexadecimal, as `stat` prints them. */
const numbersIn = (path: string): Promise<string> => container.run(`stat -c '%t:%T' ${path}`);
const hexOf = (name: Name): string => `${NODES[name].map((number) => number.toString(16)).join(':')}\n`;

const load = () => container.run(`LD_LIBRARY_PATH=${DRIVER}/driver load libascend_hal.so`);

const prepare = IMAGES[0][2];
/** What Ascend Docker Runtime gives to a container that is started with the NPU. */
const given = (npu: Name) => [npu, ...SHARED].map((name) => ownDevice(name));
const mounts = (): string => readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8');
const stateNow = () => [policyOf(container), mounts(), treeOf(container.rootfs)];
const ofRuntime = (cgroupVersion: 1 | 2, files?: readonly string[]): StartOptions => ({
  cgroupVersion,
  prepare,
  ...byAscendRuntime(hostRoot, given('davinci0'), files),
});
/** A container with the first NPU, and the slave with the second. */
async function startBoth(options: StartOptions): Promise<SlaveRef> {
  await start(options);
  node.container = runtimeOfAscend(container, given('davinci0'));
  slaveContainer = await startContainer({ ...options, ...byAscendRuntime(hostRoot, given('davinci1')) });
  return addSlave('s1', 'Ascend910-1', { envs: { ASCEND_VISIBLE_DEVICES: '1' } });
}

describe.each(CGROUP_VERSIONS)('NPUs on cgroup v%i', (cgroupVersion) => {
  test('are opened while they are mounted, and share nodes, which go with the last', async () => {
    await start({ cgroupVersion });
    const one = addSlave('s1', 'Ascend910-0', specs('davinci0', ...SHARED), 'm1', 'Ascend910-0');
    const two = addSlave('s2', 'Ascend910-1', specs('davinci1', ...SHARED), 'm2');
    await mount('m1', one);
    expect(await opened('davinci0', ...SHARED)).toEqual(all(ALLOWED, 4));
    await refusedByRule('davinci1', 'svm0');
    await mount('m2', two);
    await unmount('m1', one);
    expect(await opened('davinci1', ...SHARED)).toEqual(all(ALLOWED, 4));
    expect(await opened('davinci0')).toEqual(all(ABSENT, 1));
    await refusedByRule('davinci0');
    await unmount('m2', two);
    expect(await opened('davinci1', ...SHARED)).toEqual(all(ABSENT, 4));
    await refusedByRule('davinci1', ...SHARED);
  });

  test('have the names of a container there, and the numbers of the node', async () => {
    await start({ cgroupVersion });
    const answer = specs(['vdavinci100', 'davinci100'], ['davinci_manager_docker', 'davinci_manager']);
    const slave = addSlave('s1', 'Ascend910-2c-100-0', answer);
    await mount('m1', slave);
    expect(await opened('davinci100', 'davinci_manager')).toEqual(all(ALLOWED, 2));
    expect(await opened('vdavinci100', 'davinci_manager_docker')).toEqual(all(ABSENT, 2));
    expect(await numbersIn('/dev/davinci100')).toBe(hexOf('vdavinci100'));
    expect(await numbersIn('/dev/davinci_manager')).toBe(hexOf('davinci_manager_docker'));
    await refusedByRule('davinci_manager');
    await unmount('m1', slave);
    expect(await opened('davinci100', 'davinci_manager')).toEqual(all(ABSENT, 2));
    await refusedByRule('vdavinci100', 'davinci_manager_docker');
  });

  test('come from the running slave where the runtime knows the board, also others than the kubelet has picked', async () => {
    await start({ cgroupVersion });
    slaveContainer = await startContainer({
      cgroupVersion,
      devices: [ownDevice('davinci1'), ownDevice('davinci_manager_docker', 'davinci_manager'), ownDevice('svm0')],
    });
    const answer = { envs: { ASCEND_VISIBLE_DEVICES: '1' } };
    const slave = addSlave('s1', 'Ascend910-0', answer, 'm1', 'Ascend910-1');
    await mount('m1', slave);
    expect(await opened('davinci1', 'davinci_manager', 'svm0')).toEqual(all(ALLOWED, 3));
    expect(await opened('davinci0', 'devmm_svm')).toEqual(all(ABSENT, 2));
    await refusedByRule('davinci0', 'davinci_manager', 'hisi_hdc');
    await unmount('m1', slave);
    expect(await opened('davinci1', 'davinci_manager', 'svm0')).toEqual(all(ABSENT, 3));
    await refusedByRule('davinci1', 'davinci_manager_docker', 'svm0');
  });

  test('are not given where the pod and the device plugin say different things', async () => {
    await start({ cgroupVersion });
    const slave = addSlave('s1', 'Ascend910-0', specs('davinci0', ...SHARED), 'm1', 'Ascend910-1');
    await expect(mount('m1', slave)).rejects.toMatchObject({
      type: 'NotAllocated',
      message: `Cannot attach what "s1" has: its device plugin names NPU 0, its annotation ${REAL} NPU 1`,
    });
    expect(await opened('davinci0', 'davinci1', ...SHARED)).toEqual(all(ABSENT, 5));
    await refusedByRule('davinci0', 'davinci1', 'davinci_manager');
  });

  test('leave alone what the container had itself', async () => {
    await start({ cgroupVersion, devices: [ownDevice('davinci1'), ownDevice('davinci_manager')] });
    const slave = addSlave('s1', 'Ascend910-0', specs('davinci0', ...SHARED));
    await mount('m1', slave);
    await unmount('m1', slave);
    expect(await opened('davinci1', 'davinci_manager')).toEqual(all(ALLOWED, 2));
    expect(await opened('davinci0', 'devmm_svm')).toEqual(all(ABSENT, 2));
    await refusedByRule('davinci0', 'devmm_svm');
  });

  describe('with the driver of the node', () => {
    test('bring it to new processes of a container that has none, and take it along with the last', async () => {
      await start({ cgroupVersion, prepare });
      const before = treeOf(container.rootfs);
      const one = addSlave('s1', 'Ascend910-0', specs('davinci0', ...SHARED));
      const two = addSlave('s2', 'Ascend910-1', specs('davinci1', ...SHARED), 'm2');
      expect(await load()).toMatch(/cannot open shared object/);
      expect((await mount('m1', one)).warnings ?? []).toEqual([]);
      // The kernel has let it through to a driver that this machine does not have.
      expect(await load()).toBe('cuInit 6\n');
      expect(await container.run('/usr/local/bin/npu-smi')).toBe('smi\n');
      expect(await container.run(`touch ${DRIVER}/x`)).toMatch(/Read-only file system/);

      await mount('m2', two);
      await unmount('m1', one);
      expect(await load()).toBe('cuInit 6\n');

      const record = node.deps.store.get({ namespace: 'default', name: 'm2' });
      await container.stop();
      container = await startContainer({ cgroupVersion, prepare });
      node.container = runtimeOf(container);
      if (record === undefined) throw new Error('no record');
      await attachAgain(node.deps, record, { signal: inTime() });
      expect(await load()).toBe('cuInit 6\n');

      await unmount('m2', two);
      expect(await load()).toMatch(/cannot open shared object/);
      expect(treeOf(container.rootfs)).toEqual(before);
    });

    test('mount nothing else in a container that has it as a volume', async () => {
      const volume = { type: 'bind', options: ['rbind', 'ro'] };
      const destination = '/usr/local/Ascend/driver';
      const mounts = [{ ...volume, destination, source: join(hostRoot, destination) }];
      await start({ cgroupVersion, prepare, mounts });
      const slave = addSlave('s1', 'Ascend910-0', specs('davinci0', ...SHARED));
      expect(await load()).toBe('cuInit 2\n');
      expect((await mount('m1', slave)).warnings ?? []).toEqual([]);
      expect(await load()).toBe('cuInit 6\n');
      expect(await container.run('ls /usr/local/bin/npu-smi')).toMatch(ABSENT);
      await unmount('m1', slave);
      expect(await load()).toBe('cuInit 2\n');
    });
  });

  describe('of a container that Ascend Docker Runtime has started', () => {
    test('share its nodes and its driver, also after it was started anew, and leave it both', async () => {
      const one = await startBoth(ofRuntime(cgroupVersion));
      const two = addSlave('s2', 'Ascend910-2c-100-0', specs(['vdavinci100', 'davinci100'], ...SHARED), 'm2');
      const before = stateNow();
      expect((await mount('m1', one)).warnings ?? []).toEqual([]);
      await mount('m2', two, { inject: 'files' });
      expect(await opened('davinci0', 'davinci1', 'davinci100', ...SHARED)).toEqual(all(ALLOWED, 6));
      expect(await load()).toBe('cuInit 6\n');
      expect(mounts()).toBe(before[1]);

      const records = node.deps.store.records();
      await container.stop();
      container = await startContainer(ofRuntime(cgroupVersion));
      node.container = runtimeOfAscend(container, given('davinci0'));
      const anew = stateNow();
      for (const record of records) await attachAgain(node.deps, record, { signal: inTime() });
      expect(await opened('davinci0', 'davinci1', 'davinci100', ...SHARED)).toEqual(all(ALLOWED, 6));
      await unmount('m1', one);
      await unmount('m2', two);
      expect(await opened('davinci0', ...SHARED)).toEqual(all(ALLOWED, 4));
      expect(await load()).toBe('cuInit 6\n');
      await refusedByRule('davinci1', 'vdavinci100');
      expect(stateNow()).toEqual(anew);
    });

    test.each([
      ['none of its files', [], ABSENT],
      ['the libraries only', [DRIVER], /cuInit 6/],
    ])('bring the rest where it has mounted %s, and take that away', async (_name, files, loaded) => {
      const one = await startBoth(ofRuntime(cgroupVersion, files));
      const before = stateNow();
      await mount('m1', one, { inject: 'files' });
      expect([await load(), await container.run('/usr/local/bin/npu-smi')]).toEqual(['cuInit 6\n', 'smi\n']);
      await unmount('m1', one);
      expect(await load()).toMatch(loaded);
      expect(await opened('davinci0', ...SHARED)).toEqual(all(ALLOWED, 4));
      expect(stateNow()).toEqual(before);
    });
  });
});
