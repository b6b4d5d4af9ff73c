import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import type { Server } from '../../../deploy/local/server.ts';
import { DRA_EXAMPLE_DRIVER } from '../../../deploy/local/tools/table.ts';
import { CLUSTER } from '../cluster.ts';
import { type DeviceState, deviceState } from '../device-state.ts';
import { inPod } from '../exec.ts';
import { blocksOf } from '../guide.ts';
import { ask, failureIn, messageOf, remove, send } from '../kube.ts';
import { kubectlOk } from '../kubectl.ts';
import { filesOf, nodeAt } from '../nodes.ts';
import { type Opens, opensOf } from '../opens.ts';
import { pathOf, slavesGone } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';
import { BUILD_TIMEOUT_MS, foreignServer } from './foreign.ts';

const API = '/apis/resource.k8s.io/v1';
/** Its own name, and that of the class that its installation brings. */
const DRIVER = 'gpu.example.com';
/** That of the guide. */
const CLAIMS = { claims: [{ name: 'gpu', resourceClaimTemplateName: 'one-gpu' }] };
/** Of no driver of the kernel, and allowed to no container. */
const NUMBER = [195, 46] as const;

const node = nodeAt(0);
const files = filesOf(node);
/** An administrator's, in the folder that takes precedence: it gives a node to every claim, in place of the driver's spec for all. */
const spec = join(files, 'run/cdi/dra-example.json');
const targets = new Targets();
let driver: Server | undefined;
let pod: string;
/** Of its container, without any device. */
let before: DeviceState;

interface Named {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly driver?: string };
}

const named = async (path: string): Promise<readonly Named[]> =>
  (await ask<{ readonly items: readonly Named[] }>('GET', path)).items;
const slices = async (): Promise<readonly Named[]> =>
  (await named(`${API}/resourceslices`)).filter((slice) => slice.spec.driver === DRIVER);
const claims = (): Promise<readonly Named[]> => named(`${API}/namespaces/default/resourceclaims`);
const mount = (name: string) => send('PUT', pathOf(pod, 'mount', '&wait_second=30', 'GENERIC'), { ...CLAIMS, name });
const opens = async (): Promise<Opens | undefined> =>
  (await opensOf((line) => inPod(pod, line), { '/dev/example': NUMBER }))['/dev/example'];

beforeAll(async () => {
  const args = ['--node-name', node.name, '--num-devices', '2', '--kubeconfig', CLUSTER.kubeconfig];
  driver = await foreignServer(node, DRA_EXAMPLE_DRIVER, args);
  driver.start();
  await until('the driver to publish its devices', async () => (await slices()).length > 0);
  await ask('POST', `${API}/deviceclasses`, {
    apiVersion: 'resource.k8s.io/v1',
    kind: 'DeviceClass',
    metadata: { name: DRIVER },
    spec: { selectors: [{ cel: { expression: `device.driver == "${DRIVER}"` } }] },
  });
  const template = blocksOf('any-device-plugin.md').find(({ language }) => language === 'yaml');
  await kubectlOk(['apply', '--filename', '-'], template?.text);
  pod = await targets.start(node.name);
  before = await deviceState(pod);
}, BUILD_TIMEOUT_MS);

// A failed test may leave something mounted.
afterEach(() => send('PUT', pathOf(pod, 'unmount', '&force=1&wait_second=38', 'GENERIC')));

afterAll(async () => {
  try {
    await targets.remove();
    await expectNoPods();
  } finally {
    await driver?.stop('SIGTERM');
    for (const { metadata } of await slices()) await remove(`${API}/resourceslices/${metadata.name}`);
    await remove(`${API}/deviceclasses/${DRIVER}`);
    await remove(`${API}/namespaces/default/resourceclaimtemplates/one-gpu`);
    const specs = readdirSync(join(files, 'etc/cdi')).filter((name) => name.includes(DRIVER));
    for (const name of specs) rmSync(join(files, 'etc/cdi', name));
    rmSync(join(files, 'var/lib/kubelet/plugins', DRIVER), { recursive: true, force: true });
    rmSync(spec, { force: true });
  }
});

test('a claim of the DRA example driver, which gives variables only, is refused with their names', async () => {
  const refused = await mount('variables');
  expect([refused.status, failureIn(refused)]).toEqual([403, 'NotAllocated']);
  expect(messageOf(refused)).toMatch(
    /resourceclaim:gpu: its driver has granted no device node, only .*environment DRA_RESOURCE_DRIVER_NAME.*environment GPU_DEVICE_[01]/,
  );
  await slavesGone(pod);
  await until('the claim that was made for the mount to be gone', async () => (await claims()).length === 0);
  expect(await deviceState(pod)).toEqual(before);
});

test('claims of the DRA example driver whose spec has a device node open it until the last is unmounted', async () => {
  mkdirSync(join(spec, '..'), { recursive: true });
  const deviceNodes = [{ path: '/dev/example', type: 'c', major: NUMBER[0], minor: NUMBER[1], permissions: 'rw' }];
  const devices = [{ name: 'common', containerEdits: { deviceNodes } }];
  writeFileSync(spec, JSON.stringify({ cdiVersion: '0.6.0', kind: `k8s.${DRIVER}/gpu`, devices }));
  const ids = new Set<string>();
  for (const name of ['first', 'second']) {
    const mounted = await mount(name);
    expect([mounted.status, messageOf(mounted)]).toEqual([200, '']);
    for (const { id } of (mounted.body as DeviceMount).status.devices) ids.add(id);
    expect(await opens()).toEqual({ node: 'ENXIO', rule: 'ENXIO' });
  }
  expect([...ids].toSorted()).toEqual([`${DRIVER}/${node.name}/gpu-0`, `${DRIVER}/${node.name}/gpu-1`]);
  expect((await mount('third')).status).toBe(409);
  await ask('PUT', pathOf(pod, 'unmount', '&wait_second=30&mount=first', 'GENERIC'));
  expect(await opens()).toEqual({ node: 'ENXIO', rule: 'ENXIO' });
  await ask('PUT', pathOf(pod, 'unmount', '&wait_second=30&mount=second', 'GENERIC'));
  expect(await opens()).toEqual({ node: 'absent', rule: 'EPERM' });
  expect(await deviceState(pod)).toEqual(before);
  await until('the claims that were made for the mounts to be gone', async () => (await claims()).length === 0);
});
