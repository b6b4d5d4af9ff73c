import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import { attach } from '../../node-worker/steps/attach.ts';
import { detach } from '../../node-worker/steps/detach.ts';
import { cleanUp, startContainer, type TestContainer } from '../kernel/container.ts';
import { CGROUP_VERSIONS, WORK } from '../kernel/places.ts';
import { inTime, MemoryNode, mountRequest } from '../node-worker/memory-node.ts';
import type { Asked } from './cuda.ts';
import { gpusHere } from './gpus.ts';

/** The root of the machine inside of the container, with the container's own /dev and /proc. */
const MACHINE = '/machine';
const CUDA = join(import.meta.dirname, 'cuda.ts');
const [UUID = ''] = gpusHere();

let node: MemoryNode;
let container: TestContainer;
beforeAll(() => {
  cleanUp();
  mkdirSync(WORK, { recursive: true });
});
afterAll(cleanUp);

/** A container that has no device, and the machine's libraries and programs. */
async function start(cgroupVersion: 1 | 2): Promise<void> {
  const root = { destination: MACHINE, type: 'bind', source: '/', options: ['rbind', 'rprivate', 'ro'] };
  const capabilities = ['CAP_SYS_CHROOT', 'CAP_SYS_ADMIN'];
  container = await startContainer({ cgroupVersion, mounts: [root], capabilities });
  for (const own of ['/dev', '/proc']) await container.run(`mount -o bind ${own} ${MACHINE}${own}`);
  node = await MemoryNode.make();
  const { id, pid, spec } = container;
  node.container = { id, pid, spec, runtimeHandler: '', runtimeType: undefined };
  node.deps = { ...node.deps, engine: createEngine(), hostRoot: '' };
}
afterEach(async () => {
  await container.stop();
  node.remove();
});

/** What CUDA says inside of the container. */
async function asked(): Promise<Asked> {
  const said = await container.run(`chroot ${MACHINE} ${process.execPath} --no-warnings ${CUDA}`);
  return JSON.parse(said) as Asked;
}

function mount(slave: SlaveRef) {
  const signed = mountRequest({ name: 'm1', deviceType: 'NVIDIA_GPU', resources: { 'nvidia.com/gpu': '1' } });
  return attach(node.deps, { signed, slaves: [slave] }, { signal: inTime() });
}

describe.each(CGROUP_VERSIONS)('a GPU on cgroup v%i', (cgroupVersion) => {
  beforeEach(() => start(cgroupVersion));

  test('can be used by CUDA while it is mounted', async () => {
    expect((await asked()).result).not.toBe(0);
    const slave = node.addGpuSlave('g1', [UUID]);
    expect((await mount(slave)).devices).toMatchObject([{ id: UUID }]);
    expect(await asked()).toEqual({ result: 0, count: 1, isRight: true });
    await detach(node.deps, { mounts: [{ namespace: 'default', name: 'm1' }], slaves: [slave], force: false });
    expect((await asked()).result).not.toBe(0);
  });
});
