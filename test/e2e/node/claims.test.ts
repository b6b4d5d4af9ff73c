import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { ClaimReference } from '../../../contract/claims.ts';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { DraDriver } from '../../device-plugin/dra-driver.ts';
import { type DeviceState, deviceState } from '../device-state.ts';
import { inPod } from '../exec.ts';
import { ask, failureIn, messageOf, remove, send } from '../kube.ts';
import { laneNode, NAMESPACE } from '../lane.ts';
import { filesOf } from '../nodes.ts';
import { opensOf } from '../opens.ts';
import { pathOf, slavesOf } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

const node = laneNode();
const files = filesOf(node);
const API = '/apis/resource.k8s.io/v1';
/** Of this lane alone: classes and extended resources are the cluster's. */
const CLASS = `e2e-${node.name}`;
const DRIVER = `${CLASS}.example.com`;
const EXTENDED = `example.com/${CLASS}`;

/** Of no driver of the kernel, and allowed to no container. */
const numbered = (path: string, minor: number) => ({ path, type: 'c', major: 195, minor, permissions: 'rw' }) as const;
const OFFER = {
  driver: DRIVER,
  devices: {
    one: { deviceNodes: [numbered('/dev/claimed-one', 43)] },
    two: { deviceNodes: [numbered('/dev/claimed-two', 44)] },
  },
};
const NUMBERS = { one: { '/dev/claimed-one': [195, 43] }, two: { '/dev/claimed-two': [195, 44] } } as const;
const DEVICES = { devices: { requests: [{ name: 'device', exactly: { deviceClassName: CLASS } }] } };

const targets = new Targets();
let driver: DraDriver | undefined;
let pod: string;
/** Of its container, without any device. */
let before: DeviceState;

const pathTo = (kind: 'resourceclaims' | 'resourceclaimtemplates', name = ''): string =>
  `${API}/namespaces/${NAMESPACE}/${kind}/${name}`.replace(/\/$/, '');

beforeAll(async () => {
  await removeObjects();
  await ask('POST', `${API}/deviceclasses`, {
    apiVersion: 'resource.k8s.io/v1',
    kind: 'DeviceClass',
    metadata: { name: CLASS },
    spec: { selectors: [{ cel: { expression: `device.driver == "${DRIVER}"` } }], extendedResourceName: EXTENDED },
  });
  await ask('POST', pathTo('resourceclaimtemplates'), {
    apiVersion: 'resource.k8s.io/v1',
    kind: 'ResourceClaimTemplate',
    metadata: { name: 'any' },
    spec: { spec: DEVICES },
  });
  await ask('POST', pathTo('resourceclaims'), {
    apiVersion: 'resource.k8s.io/v1',
    kind: 'ResourceClaim',
    metadata: { name: 'kept' },
    spec: DEVICES,
  });
  const dirs = { kubeletDir: join(files, 'var/lib/kubelet'), cdiDir: join(files, 'run/cdi') };
  driver = new DraDriver(OFFER, { name: node.name, ...dirs }, send);
  await driver.start();
  pod = await targets.start(node.name);
  before = await deviceState(pod);
});

// A failed test may leave something mounted.
afterEach(() => send('PUT', pathOf(pod, 'unmount', '&force=1&wait_second=38', 'GENERIC')));

afterAll(async () => {
  try {
    await targets.remove();
    await expectNoPods();
  } finally {
    await driver?.close();
    await removeObjects();
  }
});

async function removeObjects(): Promise<void> {
  await remove(`${API}/deviceclasses/${CLASS}`);
  await remove(pathTo('resourceclaimtemplates', 'any'));
  await remove(pathTo('resourceclaims', 'kept'));
}

type Asked = { readonly resources: Readonly<Record<string, string>> } | { readonly claims: readonly ClaimReference[] };

const claimsLeft = async (): Promise<readonly string[]> => {
  const { items } = await ask<{ items: readonly { metadata: { name: string } }[] }>('GET', pathTo('resourceclaims'));
  return items.map(({ metadata }) => metadata.name);
};

test.each<[string, Asked, string]>([
  ['made from a template', { claims: [{ name: 'own', resourceClaimTemplateName: 'any' }] }, 'resourceclaim:own'],
  ['that was there before', { claims: [{ name: 'own', resourceClaimName: 'kept' }] }, 'resourceclaim:own'],
  ['that serves an extended resource', { resources: { [EXTENDED]: '1' } }, EXTENDED],
])('the device of a claim %s opens while mounted, and is free afterwards', async (_name, asked, resource) => {
  // The scheduler may not have seen the devices yet, or not that they are free again.
  const mounted = await ask<DeviceMount>('PUT', pathOf(pod, 'mount', '&wait_second=30&queue=true', 'GENERIC'), asked);
  const [device, ...others] = mounted.status.devices;
  expect([device, others]).toMatchObject([{ resource }, []]);
  const [name] = (['one', 'two'] as const).filter((one) => device?.id === `${DRIVER}/${node.name}/${one}`);
  if (name === undefined) throw new Error(`Cannot tell which device ${device?.id} is`);
  const opens = () => opensOf((line) => inPod(pod, line), NUMBERS[name]);
  expect(Object.values(await opens())).toEqual([{ node: 'ENXIO', rule: 'ENXIO' }]);
  await ask('PUT', pathOf(pod, 'unmount', `&wait_second=30&mount=${mounted.metadata.name}`, 'GENERIC'));
  expect(Object.values(await opens())).toEqual([{ node: 'absent', rule: 'EPERM' }]);
  expect(await deviceState(pod)).toEqual(before);
  await until('claims that were made for the mount to be gone', async () => (await claimsLeft()).join() === 'kept');
});

test.each([
  ['claim', { resourceClaimName: 'absent' }, 'ResourceClaim "absent"'],
  ['template', { resourceClaimTemplateName: 'absent' }, 'ResourceClaimTemplate "absent"'],
])('a %s that is not there is told of at once, and nothing is left of its mount', async (_name, claim, missing) => {
  const path = pathOf(pod, 'mount', '&wait_second=30&queue=true', 'GENERIC');
  // Those of the tests before may be ending still.
  const ending = await slavesOf(pod);
  const refused = await send('PUT', path, { claims: [{ name: 'own', ...claim }] });
  expect([refused.status, failureIn(refused)]).toEqual([404, 'NotFound']);
  expect(messageOf(refused)).toContain(`namespace "${NAMESPACE}" has no ${missing}`);
  expect(ending).toEqual(expect.arrayContaining(await slavesOf(pod)));
  expect(await deviceState(pod)).toEqual(before);
});
