import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { mend } from '../../node-worker/mounts/mend.ts';
import { attach, attachAgain } from '../../node-worker/steps/attach.ts';
import { detach } from '../../node-worker/steps/detach.ts';
import { inTime, MemoryNode, mountRequest, TARGET } from '../node-worker/memory-node.ts';
import { addDriver, addDriverNodes, UUIDS } from '../node-worker/nvidia-tree.ts';
import { VGPU } from '../node-worker/vgpu.ts';
import { cleanUp, runtimeOf, startContainer, type TestContainer } from './container.ts';
import { until } from './devices.ts';
import { engine } from './engine.ts';
import { buildHami } from './hami-core.ts';
import { possible, WORK } from './places.ts';

/** Of which the container has 1000 MiB and 30 percent from its start. Its node has minor 0. */
const GPU = UUIDS[1];
const REGION = '/tmp/vgpu/region.cache';
const OWN = 'a1 1000 MiB 30 %\n';
const GROWN = 'a1 3000 MiB 80 %\n';
const BOTH = 'a1 5000 MiB 100 %\n';

let hostRoot: string;
let folder: string;
beforeAll(() => {
  cleanUp();
  mkdirSync(WORK, { recursive: true });
  hostRoot = mkdtempSync(join(WORK, 'host-'));
  addDriver(hostRoot);
  addDriverNodes(hostRoot);
  buildHami(join(WORK, 'hami'));
  folder = join(hostRoot, `usr/local/vgpu/vgpu/containers/${TARGET.podUid}_${TARGET.container}`);
});
afterAll(cleanUp);

let node: MemoryNode;
let container: TestContainer;
beforeEach(async () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o777);
  node = await MemoryNode.make();
  node.addOwnVgpu([GPU]);
});
afterEach(async () => {
  await container.stop();
  node.remove();
});

const bind = (destination: string, source: string) => ({ destination, source, type: 'bind', options: ['rbind', 'rw'] });

/** As a container runtime starts a container with a vGPU, by the device plugin's answer. */
async function start(cgroupVersion: 1 | 2 = 2, capabilities: readonly string[] = []): Promise<void> {
  container = await startContainer({
    cgroupVersion,
    capabilities,
    devices: [{ path: '/dev/nvidia0', type: 'c', major: 195, minor: 0, access: 'rw' }],
    mounts: [bind('/tmp/vgpu', folder), bind('/bin/hami', join(WORK, 'hami'))],
    prepare(rootfs) {
      for (const path of ['tmp/vgpu', 'usr/local/vgpu']) mkdirSync(join(rootfs, path), { recursive: true });
      writeFileSync(join(rootfs, 'usr/local/vgpu/libvgpu.so'), '');
    },
  });
  const variables = ['MEMORY_LIMIT_0=1000m', 'SM_LIMIT=30', `MEMORY_SHARED_CACHE=${REGION}`];
  await container.run(`export ${variables.map((variable) => `CUDA_DEVICE_${variable}`).join(' ')}; echo ${GPU} >/gpus`);
  node.container = runtimeOf(container);
  const containers = { ...node.deps.containers, allRunning: async () => [] };
  node.deps = { ...node.deps, engine, hostRoot, containers };
}

const mount = (name: string, slave: SlaveRef, expansion = true) =>
  attach(
    node.deps,
    {
      signed: mountRequest({
        name,
        deviceType: 'VOLCANO_VGPU',
        resources: { [VGPU]: '1', 'volcano.sh/vgpu-memory': '2000' },
        annotations: expansion ? { 'device-mounter.io/expansion': 'true' } : {},
      }),
      slaves: [slave],
    },
    { signal: inTime() },
  );
const unmount = (name: string, slave: SlaveRef) =>
  detach(node.deps, { mounts: [{ namespace: 'default', name }], slaves: [slave], force: false });
/** What a program says that begins now. */
const hami = (): Promise<string> => container.run('hami');
/** Waits until the last program that runs in the background has written this. Fails when it has ended without. */
async function seen(file: string, text: string): Promise<void> {
  const written = await until(
    () => container.run(`kill -0 $! 2>/dev/null || echo ended; cat ${file} 2>/dev/null`),
    (said) => said.includes(text) || said.startsWith('ended'),
  );
  expect(written).toContain(text);
}

const PLACES = possible([
  ['on cgroup v1', { cgroupVersion: 1 }],
  ['on cgroup v2', { cgroupVersion: 2 }],
] as const);

test.each(PLACES)('a container %s has larger limits while expansions are mounted', async (_, { cgroupVersion }) => {
  await start(cgroupVersion);
  await container.run('hami watch >/watched &');
  await seen('/watched', OWN.trim());
  const [one, two] = [node.addVgpuSlave('g1', [GPU]), node.addVgpuSlave('g2', [GPU], 'm2')];
  await mount('m1', one);
  expect(await hami()).toBe(GROWN);
  await seen('/watched', GROWN.trim());
  await mount('m2', two);
  expect(await hami()).toBe(BOTH);
  await seen('/watched', BOTH.trim());
  await unmount('m1', one);
  expect(await hami()).toBe(GROWN);
  await unmount('m2', two);
  expect(await hami()).toBe(OWN);
  // Memory and cores do not change in the same instant.
  const whole = (await container.run('cat /watched'))
    .split(/(?<=\n)/)
    .filter((line) => [OWN, GROWN, BOTH].includes(line))
    .filter((line, index, lines) => line !== lines[index - 1]);
  expect(whole.slice(0, 3)).toEqual([OWN, GROWN, BOTH]);
});

describe('an expansion', () => {
  test('of a container in which no program has begun is made good for the first one', async () => {
    await start();
    const slave = node.addVgpuSlave('g1', [GPU]);
    await mount('m1', slave);
    await hami();
    expect(await mended()).toEqual(['limits']);
    expect([await hami(), await mended()]).toEqual([GROWN, []]);
    await unmount('m1', slave);
    expect(await hami()).toBe(OWN);
  });

  test('is right after a restart of the container, and of the node worker', async () => {
    await start();
    await hami();
    const slave = node.addVgpuSlave('g1', [GPU]);
    await mount('m1', slave);
    await container.stop();
    await start();
    await attachAgain(node.deps, recordOf('m1'), { signal: inTime() });
    expect(await hami()).toBe(GROWN);
    await node.restart();
    node.deps = { ...node.deps, engine, hostRoot };
    await unmount('m1', slave);
    expect(await hami()).toBe(OWN);
  });

  test('is given back to who takes it away', async () => {
    await start();
    await hami();
    for (const [name, slave] of [
      ['m1', 'g1'],
      ['m2', 'g2'],
    ] as const)
      await mount(name, node.addVgpuSlave(slave, [GPU], name));
    await container.run(`dd if=/dev/zero of=${REGION} bs=8 seek=200 count=1 conv=notrunc 2>/dev/null`);
    expect(await hami()).toBe('a1 0 MiB 100 %\n');
    expect(await mended()).toEqual(['limits', 'limits']);
    expect([await hami(), await mended()]).toEqual([BOTH, []]);
  });

  test.each([
    [
      'another GPU than the container has',
      [UUIDS[0]],
      /it is on GPU-\S+, the scheduler has chosen GPU-\S+\. Name the GPU/,
    ],
    ['a container without a vGPU', [GPU], /it has none\. Leave out the annotation/],
  ])('of %s is refused', async (_name, uuids, message) => {
    await start();
    await hami();
    if (uuids[0] === GPU) node.allocations = [];
    await expect(mount('m1', node.addVgpuSlave('g1', uuids))).rejects.toThrow(message);
    expect([node.deps.store.records(), await hami()]).toEqual([[], OWN]);
  });

  test.each([
    ['at once where no program runs', 'true', []],
    ['once NVML has told the new numbers where one runs', 'hami watch >/watched &', ['limits']],
  ])('is no condition: a mount without the annotation limits another GPU %s', async (_name, program, what) => {
    await start();
    await hami();
    await container.run(program);
    if (what.length > 0) await seen('/watched', OWN.trim());
    const slave = node.addVgpuSlave('g1', [UUIDS[0]]);
    await mount('m1', slave, false);
    await container.run(`echo ${UUIDS[0]} >/gpus; echo ${GPU} >>/gpus; hami`);
    expect(await mended()).toEqual(what);
    expect(await hami()).toBe(`a0 2000 MiB 50 %\n${OWN}`);
  });
});

const spoil = async (line: string): Promise<void> => {
  await container.run(line);
  if (line.startsWith('hami lock')) await seen('/locked', 'locked');
};

test('a folder that is gone from the node keeps nothing from being unmounted', async () => {
  await start();
  await hami();
  const slave = node.addVgpuSlave('g1', [GPU]);
  await mount('m1', slave);
  rmSync(folder, { recursive: true });
  expect(await mended()).toEqual([]);
  await unmount('m1', slave);
  expect(node.deps.store.records()).toEqual([]);
  await expect(mount('m2', node.addVgpuSlave('g2', [GPU], 'm2'))).rejects.toThrow('its folder is gone from the node');
});

describe('a tenant that', () => {
  const SPOILT: readonly (readonly [string, string, RegExp])[] = [
    ['cuts the file off', `echo >${REGION}`, /its size must be 2008953 bytes, is 1/],
    [
      'writes another number at its beginning',
      `echo xxxx | dd of=${REGION} conv=notrunc 2>/dev/null`,
      /must begin with/,
    ],
    ['puts a link in its place', `mv ${REGION} /tmp/vgpu/x; ln -s x ${REGION}`, /must be a file/],
    ['puts a folder in its place', `rm ${REGION}; mkdir ${REGION}`, /must be a file/],
    ['puts a pipe in its place', `rm ${REGION}; mkfifo ${REGION}`, /must be a file/],
    ['locks it', 'hami lock >/locked &', /has locked the file/],
    ['mounts something over the folder', 'mount -t tmpfs x /tmp/vgpu', /is not what its device plugin has mounted/],
  ];

  test.each(SPOILT)('%s gets no expansion', async (_name, line, message) => {
    await start(2, ['CAP_SYS_ADMIN']);
    await hami();
    await spoil(line);
    await expect(mount('m1', node.addVgpuSlave('g1', [GPU]))).rejects.toThrow(message);
    expect(node.deps.store.records()).toEqual([]);
  });

  test.each(SPOILT)('%s keeps nothing from being unmounted', async (_name, line) => {
    await start(2, ['CAP_SYS_ADMIN']);
    await hami();
    const slave = node.addVgpuSlave('g1', [GPU]);
    await mount('m1', slave);
    await spoil(line);
    await unmount('m1', slave);
    expect(node.deps.store.records()).toEqual([]);
    if (line.startsWith('hami lock')) expect(await container.run('rm /locked; kill -9 $!; hami')).toContain(OWN);
  });
});

function recordOf(name: string) {
  const record = node.deps.store.get({ namespace: 'default', name });
  if (record === undefined) throw new Error(`no record of ${name}`);
  return record;
}

/** What the healer would mend now. */
async function mended(): Promise<readonly string[]> {
  const handle = await engine.openContainer({ containerId: container.id, pid: container.pid });
  try {
    const { mended: mounts, failures } = await mend(node.deps, handle);
    expect(failures).toEqual([]);
    return mounts.map(({ what }) => what);
  } finally {
    handle.close();
  }
}
