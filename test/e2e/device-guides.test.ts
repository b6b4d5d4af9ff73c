import { execFile } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { APISERVER_URL } from '../../deploy/local/addresses.ts';
import { DraDriver } from '../device-plugin/dra-driver.ts';
import { ForeignPlugin, type Offered } from '../device-plugin/foreign-plugin.ts';
import { addDriver, addDriverNodes, requireNoDriver, UUIDS } from '../node-worker/nvidia-tree.ts';
import { CLUSTER } from './cluster.ts';
import { inPod } from './exec.ts';
import { blocksOf, runBlock } from './guide.ts';
import { ask, remove, send } from './kube.ts';
import { kubectlOk } from './kubectl.ts';
import { filesOf, nodeAt, nodeObject } from './nodes.ts';
import { opensOf } from './opens.ts';
import { busybox, createPod, pathOf, slavesGone } from './pods.ts';
import { expectNoPods, removeTargets } from './targets.ts';
import { until } from './until.ts';

const execFileAsync = promisify(execFile);
/** Of NVIDIA's guide in the original's documentation: query and body word for word, the pod and its container, too. */
const ORIGINAL = {
  pod: 'gpu-pod',
  container: 'cuda-container',
  mount: 'device_type=NVIDIA_GPU&container=cuda-container&wait_second=30',
  body: '{"resources": {"nvidia.com/gpu": "1"}}',
  unmount: 'device_type=NVIDIA_GPU&container=cuda-container&force=true',
};

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
  await kubectlOk(['create', 'serviceaccount', 'gpu-user']);
  const role = ['--clusterrole=device-mounter.io:generate', '--serviceaccount=default:gpu-user'];
  await kubectlOk(['create', 'rolebinding', 'gpu-user', ...role]);
  try {
    const token = (await kubectlOk(['create', 'token', 'gpu-user'])).trim();
    const curl = async (verb: string, query: string, ...data: readonly string[]): Promise<string> => {
      const url = `${APISERVER_URL}/apis/device-mounter.io/v1alpha1/namespaces/default/pods/${ORIGINAL.pod}/${verb}?${query}`;
      const ca = ['--silent', '--cacert', join(CLUSTER.paths.pki, 'ca.crt'), '--write-out', '\n%{http_code}'];
      const args = [
        ...ca,
        '--location',
        '--request',
        'PUT',
        url,
        '--header',
        `Authorization: bearer ${token}`,
        ...data,
      ];
      return (await execFileAsync('curl', args)).stdout;
    };
    expect(await curl('mount', ORIGINAL.mount, '--data', ORIGINAL.body)).toMatch(/"phase": ?"Mounted"[^]*\n200$/);
    expect(await opens(ORIGINAL.pod, { '/dev/nvidiactl': [195, 255] })).toEqual({ '/dev/nvidiactl': 'ENXIO' });
    expect(await curl('unmount', ORIGINAL.unmount)).toMatch(/\n200$/);
    await slavesGone(ORIGINAL.pod);
    expect(await opens(ORIGINAL.pod, { '/dev/nvidiactl': [195, 255] })).toEqual({ '/dev/nvidiactl': 'absent' });
  } finally {
    await kubectlOk(['delete', 'rolebinding,serviceaccount', 'gpu-user']);
  }
});
