import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { DraDriver } from '../device-plugin/dra-driver.ts';
import { ForeignPlugin, type Offered } from '../device-plugin/foreign-plugin.ts';
import { addDriver, addDriverNodes, requireNoDriver, UUIDS } from '../node-worker/nvidia-tree.ts';
import { inPod } from './exec.ts';
import { blocksOf, runBlock } from './guide.ts';
import { ask, remove, send } from './kube.ts';
import { kubectlOk } from './kubectl.ts';
import { filesOf, nodeAt, nodeObject } from './nodes.ts';
import { opensOf } from './opens.ts';
import { ORIGINAL_REQUESTS, OriginalUser } from './original-guides.ts';
import { busybox, createPod, pathOf, slavesGone } from './pods.ts';
import { expectNoPods, removeTargets } from './targets.ts';
import { until } from './until.ts';

/** The pod of the original's guide, and its container. */
const ORIGINAL = { pod: 'gpu-pod', container: 'cuda-container' };

const OFFERED: readonly Offered[] = [
  { resource: 'nvidia.com/gpu', ids: UUIDS, grant: (ids) => ({ envs: { NVIDIA_VISIBLE_DEVICES: ids.join(',') } }) },
  {
    resource: 'squat.ai/serial',
    ids: ['serial'],
    grant: () => ({ devices: [{ containerPath: '/dev/ttyUSB0', hostPath: '/dev/fuse', permissions: 'rw' }] }),
  },
];
/** Of no driver of the kernel, and allowed to no container. */
const CLAIMED = { path: '/dev/claimed', type: 'c', major: 195, minor: 45, permissions: 'rw' } as const;
const CLASS = 'gpu.example.com';

const node = nodeAt(0);
const files = filesOf(node);
const nvidia = join(files, 'run/nvidia/driver');
const dirs = { kubeletDir: join(files, 'var/lib/kubelet'), cdiDir: join(files, 'run/cdi') };
const plugins = OFFERED.map((offered) => new ForeignPlugin(join(dirs.kubeletDir, 'device-plugins'), offered));
const dra = new DraDriver(
  { driver: CLASS, devices: { one: { deviceNodes: [CLAIMED] } } },
  { name: node.name, ...dirs },
  send,
);
const pods = ['train', 'web', ORIGINAL.pod];

const blocks = (guide: string, language: string): readonly string[] =>
  blocksOf(guide)
    .filter((block) => block.language === language)
    .map(({ text }) => text);

beforeAll(async () => {
  requireNoDriver();
  rmSync(nvidia, { recursive: true, force: true });
  mkdirSync(nvidia, { recursive: true });
  addDriver(nvidia);
  addDriverNodes(nvidia);
  for (const plugin of plugins) await plugin.start();
  await dra.start();
  await ask('POST', '/apis/resource.k8s.io/v1/deviceclasses', {
    apiVersion: 'resource.k8s.io/v1',
    kind: 'DeviceClass',
    metadata: { name: CLASS },
    spec: { selectors: [{ cel: { expression: `device.driver == "${CLASS}"` } }] },
  });
  const containers = [busybox(['sleep', '100000'], { name: ORIGINAL.container })];
  await Promise.all(
    pods.map((pod) => createPod(pod, { nodeName: node.name, ...(pod === ORIGINAL.pod && { containers }) })),
  );
  await until(`${node.name} to offer the devices`, async () => {
    const { allocatable = {} } = (await nodeObject(node.name))?.status ?? {};
    return OFFERED.every(({ resource, ids }) => allocatable[resource] === String(ids.length));
  });
});

afterAll(async () => {
  const types = ['NVIDIA_GPU', 'GENERIC'] as const;
  try {
    for (const type of types)
      await Promise.all(pods.map((pod) => send('PUT', pathOf(pod, 'unmount', '&force=1&wait_second=38', type))));
    await removeTargets(pods);
    await expectNoPods();
  } finally {
    for (const plugin of plugins) plugin.close();
    await dra.close();
    await remove(`/apis/resource.k8s.io/v1/deviceclasses/${CLASS}`);
    await remove('/apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates/one-gpu');
    rmSync(nvidia, { recursive: true, force: true });
  }
});

/** How opens of the nodes end in the container, by path. */
async function opens(pod: string, numbers: Readonly<Record<string, readonly [number, number]>>): Promise<object> {
  const all = await opensOf((line) => inPod(pod, line), numbers);
  return Object.fromEntries(Object.entries(all).map(([path, { node: answer }]) => [path, answer]));
}

const mountedBy = async (block: string): Promise<DeviceMount> => JSON.parse(await runBlock(block, {})) as DeviceMount;

test('docs/guides/nvidia-gpu.md mounts a GPU', async () => {
  const [mount = '', ...more] = blocks('nvidia-gpu.md', 'sh');
  expect(more).toEqual([]);
  const { status, metadata } = await mountedBy(mount);
  expect([metadata.name, status.phase]).toEqual(['train-gpu', 'Mounted']);
  const path = status.devices[0]?.nodes[0]?.path ?? '';
  const numbers = { [path]: [195, Number(path.at(-1))], '/dev/nvidia-uvm': [511, 0] } as const;
  expect(await opens('train', numbers)).toEqual({ [path]: 'ENXIO', '/dev/nvidia-uvm': 'ENXIO' });
});

test('docs/guides/any-device-plugin.md mounts what a device plugin offers, and what a claim holds', async () => {
  const [plugin = '', claim = '', ...more] = blocks('any-device-plugin.md', 'sh');
  expect(more).toEqual([]);
  expect((await mountedBy(plugin)).status.phase).toBe('Mounted');
  expect(await opens('web', { '/dev/ttyUSB0': [10, 229] })).toEqual({ '/dev/ttyUSB0': 'opened' });
  await kubectlOk(['apply', '--filename', '-'], blocks('any-device-plugin.md', 'yaml')[0]);
  const { status } = await mountedBy(claim);
  expect([status.phase, status.devices.map(({ id, resource }) => [id, resource])]).toEqual([
    'Mounted',
    [[`${CLASS}/${node.name}/one`, 'resourceclaim:gpu']],
  ]);
  expect(await opens('web', { '/dev/claimed': [195, 45] })).toEqual({ '/dev/claimed': 'ENXIO' });
});

test('docs/guides/host-devices.md installs the plugin, which offers its devices', async () => {
  const [install = '', ...more] = blocks('host-devices.md', 'sh');
  expect(more).toEqual([]);
  // The local cluster has it with an image and devices of its own.
  const output = await runBlock(install.replace('kubectl apply', 'kubectl apply --dry-run=server'), {});
  expect(output).toContain('daemonset.apps/hostdev-device-plugin configured (server dry run)');
  expect(output).toContain('successfully rolled out');
  expect(output).toContain('"hostdev.k8s.io/dev_fuse":"1"');
});

test('the requests of the guide to NVIDIA GPUs of the original mount a GPU and take it back', async () => {
  const user = new OriginalUser();
  await user.create();
  try {
    const mounted = await user.send<DeviceMount>(ORIGINAL_REQUESTS.mountGpu, ORIGINAL.pod);
    expect(mounted.status.phase).toBe('Mounted');
    expect(await opens(ORIGINAL.pod, { '/dev/nvidiactl': [195, 255] })).toEqual({ '/dev/nvidiactl': 'ENXIO' });
    await user.unmount(ORIGINAL_REQUESTS.unmountGpu, ORIGINAL.pod);
    await slavesGone(ORIGINAL.pod);
    expect(await opens(ORIGINAL.pod, { '/dev/nvidiactl': [195, 255] })).toEqual({ '/dev/nvidiactl': 'absent' });
  } finally {
    await user.remove();
  }
});
