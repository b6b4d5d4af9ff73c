import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { attach } from '../../node-worker/steps/attach.ts';
import { detach } from '../../node-worker/steps/detach.ts';
import { inTime, MemoryNode, mountRequest } from '../node-worker/memory-node.ts';
import { addDriver, addDriverNodes, UUIDS } from '../node-worker/nvidia-tree.ts';
import { VGPU } from '../node-worker/vgpu.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { engine } from './engine.ts';
import { buildHamiCore, buildOldHamiCore } from './hami-core.ts';
import { addVgpu, buildLibcuda, IMAGES, ownedBy, treeOf } from './injected.ts';
import { possible, WORK } from './places.ts';
import { restoreSysctls, setSysctls } from './sysctl.ts';

let hostRoot: string;
beforeAll(() => {
  cleanUp();
  mkdirSync(WORK, { recursive: true });
  hostRoot = mkdtempSync(join(WORK, 'host-'));
  addDriver(hostRoot);
  addDriverNodes(hostRoot);
  buildLibcuda(join(hostRoot, 'usr/lib64'));
  for (const name of ['g1', 'g2']) addVgpu(hostRoot, `${name}-uid`);
});
afterAll(cleanUp);

/** HAMi-core on the node. */
const library = (): string => join(hostRoot, 'usr/local/vgpu/libvgpu.so');

let node: MemoryNode;
let container: TestContainer;
async function start(options: StartOptions): Promise<void> {
  const { userNamespaceBase } = options;
  container = await startContainer({
    ...options,
    prepare(rootfs) {
      IMAGES[0][2](rootfs);
      options.prepare?.(rootfs);
      chmodSync(join(rootfs, 'tmp'), 0o1777);
      if (userNamespaceBase !== undefined) ownedBy(userNamespaceBase, rootfs);
    },
  });
  node = await MemoryNode.make();
  const { id, pid, spec } = container;
  node.container = { id, pid, spec, runtimeHandler: '', runtimeType: undefined };
  const containers = { ...node.deps.containers, allRunning: async () => [] };
  node.deps = { ...node.deps, engine, hostRoot, containers };
}
afterEach(async () => {
  restoreSysctls();
  await container.stop();
  node.remove();
});

const mount = (name: string, slaves: readonly SlaveRef[], inject?: 'files') =>
  attach(
    node.deps,
    {
      signed: mountRequest({
        name,
        deviceType: 'VOLCANO_VGPU',
        resources: { [VGPU]: '1', 'volcano.sh/vgpu-memory': '2000' },
        ...(inject && { inject }),
      }),
      slaves,
    },
    { signal: inTime() },
  );
const unmount = (name: string, slaves: readonly SlaveRef[]) =>
  detach(node.deps, { mounts: [{ namespace: 'default', name }], slaves, force: false });

/** Options of what is mounted on a path. */
const optionsOf = (path: string): readonly string[] =>
  readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8')
    .split('\n')
    .filter((line) => line.split(' ')[4] === path)
    .map((line) => line.split(' ')[5] ?? '');

/** Each program says its limits first; the kernel has let this one through to a driver that the machine does not have. */
const LIMITED = 'a1 2000 MiB 50 %\ncuInit 6\n';
const NO_DRIVER = /libcuda\.so\.1.*(No such file|cannot open)/;

const PLACES = possible([
  ['on cgroup v1', { cgroupVersion: 1 }],
  ['on cgroup v2', { cgroupVersion: 2 }],
  ['with a user namespace', { cgroupVersion: 2, userNamespaceBase: 1_000_000 }],
] as const);

describe.each(PLACES)('a container %s', (_, options) => {
  test('has a vGPU with its limits while it is mounted, on the GPU that the scheduler has chosen', async () => {
    // As distributions have it: in /tmp nobody opens another's file to make it.
    setSysctls({ 'fs/protected_regular': '2' });
    await start(options);
    const before = treeOf(container.rootfs);
    expect(await container.run('load libcuda.so.1')).toMatch(NO_DRIVER);
    const slave = node.addVgpuSlave('g1', [UUIDS[1]]);
    const { devices, warnings = [] } = await mount('m1', [slave]);
    expect([devices, warnings]).toMatchObject([
      [{ id: UUIDS[1], resource: VGPU, nodes: { 0: { path: '/dev/nvidia0' } } }],
      [],
    ]);
    expect(await container.run('load libcuda.so.1')).toBe(LIMITED);
    expect(await container.run('ls /dev/nvidia1')).toMatch(/No such file/);

    for (const path of ['/tmp/cudevshr.cache', '/tmp/vgpulock'])
      expect(optionsOf(path)).toEqual([expect.stringMatching(/^rw,nosuid,nodev,noexec/)]);
    for (const path of ['/usr/local/vgpu/libvgpu.so', '/etc/ld.so.preload'])
      expect(optionsOf(path)).toEqual([expect.stringMatching(/^ro,nosuid,nodev/)]);
    expect(await container.run('cp /bin/busybox /tmp/vgpulock/x; chmod 755 /tmp/vgpulock/x; /tmp/vgpulock/x')).toMatch(
      /Permission denied/,
    );
    expect(await container.run('rm /tmp/cudevshr.cache')).toMatch(/busy/);

    // As a program that loads the library while the file goes, since root may write to a file without permissions.
    writeFileSync(join(container.rootfs, 'tmp/cudevshr.cache'), 'x');
    await unmount('m1', [slave]);
    expect(await container.run('load libcuda.so.1')).toMatch(NO_DRIVER);
    expect(treeOf(container.rootfs)).toEqual(before);
  });

  test('that has the driver gets the limits only, and loses only them', async () => {
    await start({ ...options, prepare: (rootfs) => void buildLibcuda(join(rootfs, 'usr/lib64'), 'libcuda.so.1') });
    expect(await container.run('load /usr/lib64/libcuda.so.1')).toBe('cuInit 2\n');
    const slave = node.addVgpuSlave('g1', [UUIDS[1]]);
    await mount('m1', [slave], 'files');
    expect(await container.run('load /usr/lib64/libcuda.so.1')).toBe(LIMITED);
    expect(optionsOf('/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15')).toEqual([]);
    await unmount('m1', [slave]);
    expect(await container.run('load /usr/lib64/libcuda.so.1')).toBe('cuInit 2\n');
  });
});

test('a folder that the node worker itself sees read-only is writable in the container', async () => {
  const lock = join(hostRoot, 'tmp/vgpulock');
  execFileSync('mount', ['--bind', lock, lock]);
  try {
    execFileSync('mount', ['-o', 'remount,bind,ro', lock]);
    await start({ cgroupVersion: 2 });
    await mount('m1', [node.addVgpuSlave('g1', [UUIDS[1]])]);
    expect(await container.run('echo held >/tmp/vgpulock/by; cat /tmp/vgpulock/by')).toBe('held\n');
  } finally {
    execFileSync('umount', ['-l', lock]);
  }
});

/** Without the answer of cuInit. */
const limits = async (): Promise<readonly string[]> => {
  const said = await container.run('load libcuda.so.1');
  return said.split('\n').filter((line) => / MiB |libcuda/.test(line));
};

describe('two mounts in one container', () => {
  const SAID = { a0: 'a0 2000 MiB 50 %', a1: 'a1 2000 MiB 50 %', both: 'a1 4000 MiB 100 %' };

  test('share its files and its region, and the last one takes them away', async () => {
    await start({ cgroupVersion: 2 });
    const before = treeOf(container.rootfs);
    const [one, two] = [node.addVgpuSlave('g1', [UUIDS[1]]), node.addVgpuSlave('g2', [UUIDS[0]], 'm2')];
    await mount('m1', [one], 'files');
    expect(await limits()).toEqual([SAID.a1]);
    await mount('m2', [two], 'files');
    expect(await limits()).toEqual([SAID.a0, SAID.a1]);
    await unmount('m1', [one]);
    expect(await limits()).toContain(SAID.a0);
    await unmount('m2', [two]);
    expect(await limits()).toEqual([expect.stringMatching(NO_DRIVER)]);
    expect(treeOf(container.rootfs)).toEqual(before);
  });

  test('add their shares of one GPU', async () => {
    await start({ cgroupVersion: 2 });
    const [one, two] = [node.addVgpuSlave('g1', [UUIDS[1]]), node.addVgpuSlave('g2', [UUIDS[1]], 'm2')];
    await mount('m1', [one], 'files');
    await mount('m2', [two], 'files');
    expect(await limits()).toEqual([SAID.both]);
    await unmount('m1', [one]);
    expect(await limits()).toEqual([SAID.a1]);
  });
});

test('a lock folder that was removed and made again on the node is not taken for the one that the node worker sees', async () => {
  const lock = join(hostRoot, 'tmp/vgpulock');
  const removed = mkdtempSync(join(WORK, 'lock-'));
  execFileSync('mount', ['--bind', removed, lock]);
  try {
    rmdirSync(removed);
    await start({ cgroupVersion: 2 });
    const slave = node.addVgpuSlave('g1', [UUIDS[1]]);
    await expect(mount('m1', [slave], 'files')).rejects.toMatchObject({
      type: 'NotFound',
      message: expect.stringMatching(/the node has no "\/tmp\/vgpulock", or the node worker does not see it/),
    });
  } finally {
    execFileSync('umount', ['-l', lock]);
  }
});

test('HAMi-core before 1.1 gets a folder to count in and limits that a second mount cannot add to', async () => {
  buildOldHamiCore(library());
  try {
    await start({ cgroupVersion: 2 });
    const [one, two] = [node.addVgpuSlave('g1', [UUIDS[1]]), node.addVgpuSlave('g2', [UUIDS[0]], 'm2')];
    await mount('m1', [one], 'files');
    expect(await container.run('load libcuda.so.1')).toMatch(/^CUDA_DEVICE_MEMORY_LIMIT_0=2000m\n[^]*cuInit 6\n$/);
    expect(optionsOf('/tmp/vgpu')).toEqual([expect.stringMatching(/^rw,nosuid,nodev,noexec/)]);
    expect(optionsOf('/overrideEnv')).toEqual([expect.stringMatching(/^ro,nosuid,nodev/)]);
    await expect(mount('m2', [two], 'files')).rejects.toMatchObject({ type: 'ContainerUnsupported' });
    const { warnings } = await mount('m2', [two]);
    expect(warnings).toMatchObject([
      { message: expect.stringMatching(/"\/tmp\/vgpu" to the container: it has another file/) },
    ]);
  } finally {
    buildHamiCore(library());
  }
});
