import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { ForeignPlugin } from '../../device-plugin/foreign-plugin.ts';
import { buildLibcuda, IMAGES, VERSION } from '../../kernel/injected.ts';
import { addDriver, addDriverNodes, requireNoDriver, UUIDS } from '../../node-worker/nvidia-tree.ts';
import { deviceState, restartContainer } from '../device-state.ts';
import { inPod } from '../exec.ts';
import { ask } from '../kube.ts';
import { isMine, laneNode } from '../lane.ts';
import { startLibraryPod, stdoutOf, treeOf } from '../library-pods.ts';
import { restartNodeWorker } from '../node-workers.ts';
import { filesOf, nodeObject } from '../nodes.ts';
import { pathOf } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

const GPU = 'nvidia.com/gpu';
const node = laneNode();
const targets = new Targets();
const driver = join(filesOf(node), 'run/nvidia/driver');
let plugin: ForeignPlugin | undefined;

beforeAll(async () => {
  requireNoDriver();
  removeDriver();
  addDriver(driver);
  addDriverNodes(driver);
  buildLibcuda(join(driver, 'usr/lib64'));
  plugin = new ForeignPlugin(join(filesOf(node), 'var/lib/kubelet/device-plugins'), {
    resource: GPU,
    ids: UUIDS,
    grant: (ids) => ({ envs: { NVIDIA_VISIBLE_DEVICES: ids.join(',') } }),
  });
  await plugin.start();
  await until(`${node.name} to offer GPUs`, async () => {
    const { allocatable = {} } = (await nodeObject(node.name))?.status ?? {};
    return allocatable[GPU] === String(UUIDS.length);
  });
});

afterAll(async () => {
  try {
    await targets.remove();
    await expectNoPods();
  } finally {
    plugin?.close();
    removeDriver();
  }
});

const removeDriver = (): void => rmSync(driver, { recursive: true, force: true });

/** The node's kind makes no difference to the image: the nodes share them. */
test.each(IMAGES.filter((_image, index) => isMine(index)))(
  'a GPU brings its driver into a running container of an image of %s, and takes it away',
  async (_name, folder, prepare) => {
    const pod = await startLibraryPod(targets, node, prepare);
    const before = [await deviceState(pod), await treeOf(pod)];
    expect(await stdoutOf(pod, 'load libcuda.so.1')).toMatch(/libcuda\.so\.1/);
    const path = pathOf(pod, 'mount', '&wait_second=30', 'NVIDIA_GPU');
    const { metadata } = await ask<DeviceMount>('PUT', path, { resources: { [GPU]: '1' } });
    // ENXIO: the kernel has let the library through to a driver that this machine does not have.
    expect(await stdoutOf(pod, 'load libcuda.so.1')).toBe('cuInit 6');
    const { stderr } = await inPod(pod, `echo >${folder}/libcuda.so.${VERSION}`);
    expect(stderr).toContain('Read-only file system');

    await restartContainer(pod);
    const loads = async () => (await stdoutOf(pod, 'load libcuda.so.1')) === 'cuInit 6';
    await until('the driver in the new container', loads);

    // It may be killed before it has written down that all of it is there: the next one takes it back then, and gives it again.
    await restartNodeWorker(node);
    await until('the driver with the next node worker', loads);
    await ask('PUT', pathOf(pod, 'unmount', `&wait_second=30&mount=${metadata.name}`, 'NVIDIA_GPU'));
    expect(await stdoutOf(pod, 'load libcuda.so.1')).toMatch(/libcuda\.so\.1/);
    expect([await deviceState(pod), await treeOf(pod)]).toEqual(before);
  },
);
