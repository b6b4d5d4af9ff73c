import { mkdirSync, mkdtempSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { attach, attachAgain } from '../../node-worker/steps/attach.ts';
import { detach } from '../../node-worker/steps/detach.ts';
import { inTime, MemoryNode, mountRequest } from '../node-worker/memory-node.ts';
import { addDriver, addDriverNodes, DRIVER_NODES, UUIDS } from '../node-worker/nvidia-tree.ts';
import { cleanUp, runtimeOf, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { engine } from './engine.ts';
import { buildLibcuda, distroless, IMAGES, treeOf, VERSION } from './injected.ts';
import { CGROUP_VERSIONS, WORK } from './places.ts';

let hostRoot: string;
/** The same, with the libraries of its driver. */
let wholeHost: string;
beforeAll(() => {
  cleanUp();
  mkdirSync(WORK, { recursive: true });
  [hostRoot, wholeHost] = [mkdtempSync(join(WORK, 'host-')), mkdtempSync(join(WORK, 'host-'))];
  for (const root of [hostRoot, wholeHost]) {
    addDriver(root);
    addDriverNodes(root);
  }
  buildLibcuda(join(wholeHost, 'usr/lib64'));
});
afterAll(cleanUp);

const numbersOf = (name: string) => DRIVER_NODES[`/dev/${name}` as keyof typeof DRIVER_NODES];
const REFUSED = /Operation not permitted/;
const ABSENT = /No such file/;
const [FIRST, SECOND] = UUIDS;

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

/** Opens each node for both, and gives what the kernel has said to each. The shell would make a file that is not there. */
async function opened(...names: readonly string[]): Promise<readonly string[]> {
  const said: string[] = [];
  for (const path of names.map((name) => `/dev/${name}`)) {
    said.push(await container.run(`ls ${path} >/dev/null && test -c ${path} && true <>${path} && echo opened`));
  }
  return said;
}

const CONTROL = ['nvidiactl', 'nvidia-uvm', 'nvidia-uvm-tools', 'nvidia-modeset'];
const allowed = (count: number): readonly unknown[] =>
  Array.from({ length: count }, () => expect.stringMatching(/opened|No such device/));
const all = (pattern: RegExp, count: number): readonly unknown[] =>
  Array.from({ length: count }, () => expect.stringMatching(pattern));

function mount(name: string, slaves: readonly SlaveRef[], change: Partial<MountRequest> = {}) {
  const signed = mountRequest({ name, deviceType: 'NVIDIA_GPU', resources: { 'nvidia.com/gpu': '1' }, ...change });
  return attach(node.deps, { signed, slaves }, { signal: inTime() });
}

const unmount = (name: string, slaves: readonly SlaveRef[], device?: string) =>
  detach(node.deps, {
    mounts: [{ namespace: 'default', name }],
    slaves,
    force: false,
    ...(device !== undefined && { device }),
  });

/** Even with a node of its own making. */
const refusedByRule = (name: string): Promise<string> => {
  const [major, minor] = numbersOf(name);
  return container.run(`mknod /tmp/${name} c ${major} ${minor}; true <>/tmp/${name}; rm /tmp/${name}`);
};

describe.each(CGROUP_VERSIONS)('GPUs on cgroup v%i', (cgroupVersion) => {
  describe('of a plain container', () => {
    beforeEach(() => start({ cgroupVersion }));

    test('can be opened while they are mounted, by their UUIDs, and no others', async () => {
      const slave = node.addGpuSlave('g1', [FIRST]);
      expect(await opened('nvidia1', ...CONTROL)).toEqual(all(ABSENT, 5));
      expect((await mount('m1', [slave])).devices).toMatchObject([
        { id: FIRST, nodes: [{ path: '/dev/nvidia1' }, {}, {}, {}, {}] },
      ]);
      expect(await opened('nvidia1', ...CONTROL)).toEqual(allowed(5));
      expect(await opened('nvidia0')).toEqual(all(ABSENT, 1));
      expect(await refusedByRule('nvidia0')).toMatch(REFUSED);
      await unmount('m1', [slave]);
      expect(await opened('nvidia1', ...CONTROL)).toEqual(all(ABSENT, 5));
      for (const name of ['nvidia1', ...CONTROL]) expect(await refusedByRule(name)).toMatch(REFUSED);
    });

    test('share control nodes, which go with the last mount', async () => {
      const [one, two] = [node.addGpuSlave('g1', [FIRST], 'm1'), node.addGpuSlave('g2', [SECOND], 'm2')];
      await mount('m1', [one]);
      await mount('m2', [two]);
      expect(await opened('nvidia0', 'nvidia1', ...CONTROL)).toEqual(allowed(6));
      await unmount('m1', [one]);
      expect(await opened('nvidia1')).toEqual(all(ABSENT, 1));
      expect(await refusedByRule('nvidia1')).toMatch(REFUSED);
      expect(await opened('nvidia0', ...CONTROL)).toEqual(allowed(5));
      await unmount('m2', [two]);
      expect(await opened('nvidia0', ...CONTROL)).toEqual(all(ABSENT, 5));
      for (const name of ['nvidia0', ...CONTROL]) expect(await refusedByRule(name)).toMatch(REFUSED);
    });

    test('that two mounts have a share of each, stay with the second', async () => {
      const shares = [0, 1].map((index) => node.addGpuSlave(`g${index}`, [`${FIRST}::${index}`], `m${index}`));
      await Promise.all(shares.map((slave, index) => mount(`m${index}`, [slave])));
      await unmount('m0', shares.slice(0, 1));
      expect(await opened('nvidia1', ...CONTROL)).toEqual(allowed(5));
      await unmount('m1', shares.slice(1));
      expect(await opened('nvidia1', ...CONTROL)).toEqual(all(ABSENT, 5));
    });

    test('of a split mount are given back one by one', async () => {
      const slaves = UUIDS.map((uuid, index) => node.addGpuSlave(`web-0-slave-0123456789ab-${index}`, [uuid], 'm1'));
      await mount('m1', slaves, { resources: { 'nvidia.com/gpu': '2' }, split: true });
      expect(await opened('nvidia0', 'nvidia1', ...CONTROL)).toEqual(allowed(6));
      await unmount('m1', slaves, FIRST);
      expect(await opened('nvidia1')).toEqual(all(ABSENT, 1));
      expect(await refusedByRule('nvidia1')).toMatch(REFUSED);
      expect(await opened('nvidia0', ...CONTROL)).toEqual(allowed(5));
      await unmount('m1', slaves, SECOND);
      expect(await opened('nvidia0', ...CONTROL)).toEqual(all(ABSENT, 5));
      for (const name of ['nvidia0', ...CONTROL]) expect(await refusedByRule(name)).toMatch(REFUSED);
    });

    test('that are MIG devices come from the running slave', async () => {
      const names = ['nvidia0', 'nvidiactl', 'nvidia-caps/nvidia-cap12'];
      slaveContainer = await startContainer({ cgroupVersion, devices: names.map(ownDevice) });
      const slave = node.addGpuSlave('g1', ['MIG-1']);
      node.addPod({ name: 'g1', uid: slave.uid, running: false });
      const mounting = mount('m1', [slave]);
      expect(await opened('nvidia0')).toEqual(all(ABSENT, 1));
      node.addPod({ name: 'g1', uid: slave.uid });
      node.changes.notify();
      await mounting;
      expect(await opened(...names, ...CONTROL)).toEqual(allowed(7));
      await unmount('m1', [slave]);
      expect(await opened(...names, 'nvidia-uvm')).toEqual(all(ABSENT, 4));
      expect(await container.run('ls /dev/nvidia-caps')).toMatch(ABSENT);
    });
  });

  test.each([
    ['lacks the libraries of the driver', '/opt/libcuda.so.1', 1],
    ['has them as a link, wherever that leads', '/usr/lib64/libcuda.so.1', 0],
    ['has them in a folder that is a link, which nothing follows', '/etc/link/libcuda.so.1', 1],
  ])('come with a warning only where the container %s', async (_name, path, count) => {
    await start({
      cgroupVersion,
      prepare(rootfs) {
        mkdirSync(join(rootfs, 'usr'), { recursive: true });
        if (path.startsWith('/etc/')) symlinkSync('/etc/link', join(rootfs, 'usr/lib64'));
        mkdirSync(join(rootfs, dirname(path)), { recursive: true });
        symlinkSync('/nowhere', join(rootfs, path));
      },
    });
    const { warnings = [] } = await mount('m1', [node.addGpuSlave('g1', [FIRST])]);
    expect([warnings.length, node.events.length]).toEqual([count, count]);
  });

  test.each([
    ...IMAGES.map(([name, folder, prepare]) => [name, folder, { prepare }] as const),
    ['nothing but one program', IMAGES[0][1], { prepare: distroless, args: ['/load'] }] as const,
  ])('bring the driver for new processes into an image of %s, which has none', async (_name, folder, image) => {
    await start({ cgroupVersion, ...image });
    node.deps = { ...node.deps, hostRoot: wholeHost };
    const before = treeOf(container.rootfs);
    const slave = node.addGpuSlave('g1', [FIRST]);
    const write = () => container.run(`load -w ${folder}/libcuda.so.${VERSION}`);
    expect(await container.run('load libcuda.so.1')).toMatch(/libcuda\.so\.1.*(No such file|cannot open)/);
    expect((await mount('m1', [slave])).warnings ?? []).toEqual([]);
    // The kernel has let it through to a driver that this machine does not have.
    expect(await container.run('load libcuda.so.1')).toBe('cuInit 6\n');
    expect(await write()).toBe('Read-only file system\n');

    const record = node.deps.store.get({ namespace: 'default', name: 'm1' });
    await container.stop();
    container = await startContainer({ cgroupVersion, ...image });
    node.container = runtimeOf(container);
    if (record === undefined) throw new Error('no record');
    await attachAgain(node.deps, record, { signal: inTime() });
    expect(await container.run('load libcuda.so.1')).toBe('cuInit 6\n');
    expect(await write()).toBe('Read-only file system\n');

    await unmount('m1', [slave]);
    expect(await container.run('load libcuda.so.1')).toMatch(/libcuda\.so\.1.*(No such file|cannot open)/);
    expect(await write()).toBe('No such file or directory\n');
    expect(treeOf(container.rootfs)).toEqual(before);
  });

  test('share the driver, which goes with the last mount', async () => {
    await start({ cgroupVersion, prepare: IMAGES[0][2] });
    node.deps = { ...node.deps, hostRoot: wholeHost };
    const [one, two] = [node.addGpuSlave('g1', [FIRST], 'm1'), node.addGpuSlave('g2', [SECOND], 'm2')];
    await mount('m1', [one]);
    await mount('m2', [two]);
    await unmount('m1', [one]);
    expect(await container.run('load libcuda.so.1')).toBe('cuInit 6\n');
    await unmount('m2', [two]);
    expect(await container.run('load libcuda.so.1')).toMatch(/libcuda\.so\.1/);
  });

  test('leave alone the GPU and the control node that the container had itself', async () => {
    await start({ cgroupVersion, devices: ['nvidia0', 'nvidiactl'].map(ownDevice) });
    const slave = node.addGpuSlave('g1', [FIRST]);
    await mount('m1', [slave]);
    expect(await opened('nvidia0', 'nvidia1', ...CONTROL)).toEqual(allowed(6));
    await unmount('m1', [slave]);
    expect(await opened('nvidia0', 'nvidiactl')).toEqual(allowed(2));
    expect(await opened('nvidia1', 'nvidia-uvm')).toEqual(all(ABSENT, 2));
    for (const name of ['nvidia1', 'nvidia-uvm']) expect(await refusedByRule(name)).toMatch(REFUSED);
  });
});

function ownDevice(name: string) {
  const [major, minor] = numbersOf(name);
  return { path: `/dev/${name}`, type: 'c', major, minor, access: 'rw' } as const;
}
