import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { AttachResult } from '../../contract/node-activities.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { attachInput, FUSE_RESOURCE, inTime, MemoryNode, TARGET } from '../../test/node-worker/memory-node.ts';
import type { PodClaim } from '../cluster/pod-view.ts';
import { AllocationGuard } from '../guards/allocation-guard.ts';
import type { PreparedDevice } from '../kubelet/prepared-claims.ts';
import { attach } from './attach.ts';

const ID = 'gpu.x.io/n1/gpu-0';
const GPU = 'x.io/gpu';
const OWN = [{ name: 'gpu', resourceClaimName: 'gpu-of-web' }] as const;
const NAMED: readonly PodClaim[] = [{ name: 'gpu', claim: 'gpu-of-web' }];
const SERVING: readonly PodClaim[] = [
  { claim: 'gpu-of-web', serves: [{ resource: GPU, request: 'container-0-request-0' }] },
];

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  // Without an allocation of any device plugin.
  slave = node.addSlave('s1');
  node.allocations = [];
});
afterEach(() => node.remove());

function prepare(claims: readonly PodClaim[], devices: readonly Partial<PreparedDevice>[] = [{}]): void {
  node.addPod({ ...slave, claims });
  node.claims.push({
    namespace: TARGET.namespace,
    name: 'gpu-of-web',
    podUids: [slave.uid],
    devices: devices.map((device) => ({
      id: ID,
      requests: ['container-0-request-0'],
      cdiDevices: ['x.io/gpu=0'],
      ...device,
    })),
  });
}

function writeSpec(path: string): void {
  mkdirSync(join(node.hostRoot, 'var/run/cdi'), { recursive: true });
  const containerEdits = { deviceNodes: [{ path, type: 'c', major: 10, minor: 229 }] };
  const spec = { cdiVersion: '1.0.0', kind: 'x.io/gpu', devices: [{ name: '0', containerEdits }] };
  writeFileSync(join(node.hostRoot, 'var/run/cdi/x.json'), JSON.stringify(spec));
}

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];
const attachNow = (change: Partial<MountRequest>): Promise<AttachResult> =>
  attach(node.deps, attachInput(slave, { deviceType: 'GENERIC', ...change }), { signal: inTime() });

describe('attach() of a claim', () => {
  test.each<[string, readonly PodClaim[], Partial<MountRequest>, string]>([
    ['that was asked for', NAMED, { resources: {}, claims: OWN }, 'resourceclaim:gpu'],
    ['that serves an extended resource', SERVING, { resources: { [GPU]: '1' } }, GPU],
  ])('gives the device %s, known by driver, pool and device', async (_name, claims, request, resource) => {
    writeSpec('/dev/fuse');
    prepare(claims);
    const { devices } = await attachNow(request);
    expect(devices).toMatchObject([{ id: ID, resource, slave: 's1', nodes: [{ path: '/dev/fuse' }] }]);
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('gives it beside what a device plugin has allocated', async () => {
    writeSpec('/dev/fuse');
    node.addSlave('s1');
    prepare(SERVING);
    const { devices } = await attachNow({ resources: { [GPU]: '1', [FUSE_RESOURCE]: '1' } });
    expect(devices.map(({ id, resource }) => [id, resource])).toEqual([
      ['/dev/fuse', FUSE_RESOURCE],
      [ID, GPU],
    ]);
  });

  test.each<[string, () => void, Partial<MountRequest>, string]>([
    [
      'of which the driver names no device',
      () => prepare(NAMED, []),
      { resources: {}, claims: OWN },
      'its driver has named no device of claim "gpu" to the kubelet',
    ],
    [
      'that is not the slave’s by its own word',
      () => prepare([{ name: 'gpu', claim: 'another' }]),
      { resources: {}, claims: OWN },
      'named no device of claim "gpu"',
    ],
    [
      'that serves other requests',
      () => prepare(SERVING, [{ requests: ['container-0-request-1'] }]),
      { resources: { [GPU]: '1' } },
      'neither a device plugin nor a claim has given it a device',
    ],
    [
      'whose CDI device is not there',
      () => prepare(NAMED),
      { resources: {}, claims: OWN },
      'CDI device "x.io/gpu=0": no spec',
    ],
    [
      'whose CDI device names another node than the slave has',
      () => {
        writeSpec('/dev/kvm');
        prepare(NAMED);
      },
      { resources: {}, claims: OWN },
      'its driver names /dev/kvm (c 10:229 rwm), the running slave has /dev/fuse',
    ],
    [
      'that gives no node',
      () => {
        prepare(NAMED, [{ cdiDevices: [] }]);
        node.engine.containers.set(`${slave.uid}-container`, new Set());
      },
      { resources: {}, claims: OWN },
      'its driver has granted no device node, only nothing',
    ],
  ])('gives nothing of one %s', async (_name, prepared, request, message) => {
    prepared();
    await expect(attachNow(request)).rejects.toMatchObject({
      type: 'NotAllocated',
      message: expect.stringContaining(message),
    });
    expect(usable()).toEqual([]);
  });

  test('says which type to use where a claim serves what a device plugin was expected to', async () => {
    prepare(SERVING);
    const gpu = { deviceType: 'NVIDIA_GPU', resources: { 'nvidia.com/gpu': '1' } } as const;
    await expect(attachNow(gpu)).rejects.toMatchObject({
      type: 'NotAllocated',
      message: 'Cannot attach what "s1" has: a claim serves it, and no device plugin. Use device_type=GENERIC',
    });
  });

  test('gives nothing of another pod’s claim, not even of its name in another namespace', async () => {
    writeSpec('/dev/fuse');
    prepare(NAMED);
    const whole = node.claims;
    for (const change of [{ namespace: 'other' }, { podUids: ['u2'] }]) {
      node.claims = whole.map((claim) => ({ ...claim, ...change }));
      await expect(attachNow({ resources: {}, claims: OWN })).rejects.toThrow('named no device of claim "gpu"');
    }
    node.claims = whole;
    expect((await attachNow({ resources: {}, claims: OWN })).devices).toHaveLength(1);
  });
});

/** A claim of another pod. */
const other = (podUids = ['u2'], id = ID) => ({
  namespace: 'x',
  name: 'other',
  podUids,
  devices: [{ id, requests: [], cdiDevices: [] }],
});

describe('AllocationGuard of claimed devices', () => {
  let released: string[];
  let guard: AllocationGuard;
  beforeEach(async () => {
    writeSpec('/dev/fuse');
    prepare(NAMED);
    await attachNow({ resources: {}, claims: OWN });
    released = [];
    const release = (mount: { readonly name: string }, why: string): void =>
      void released.push(`${mount.name}: ${why}`);
    guard = new AllocationGuard({ deps: node.deps, release, pollMs: 60_000 });
  });

  test('releases what another claim has instead of the slave’s', async () => {
    node.claims = [other(['u2', 'u3'])];
    await guard.look();
    expect(released).toEqual([`m1: the kubelet has given ${ID} to the pod u2, the pod u3`]);
  });

  test('releases what the slave’s claim has, and no longer for the slave', async () => {
    node.claims = node.claims.map((claim) => ({ ...claim, podUids: ['u2'] }));
    await guard.look();
    expect(released).toEqual([`m1: the kubelet has given ${ID} to the pod u2`]);
  });

  test('leaves alone what the slave shares, what nobody else has, and another device', async () => {
    node.claims.push(other());
    await guard.look();
    node.claims = [other(['u2'], 'gpu.x.io/n1/gpu-1')];
    await guard.look();
    node.claims = [];
    await guard.look();
    expect(released).toEqual([]);
  });

  test('still looks at device plugins while the claims cannot be read', async () => {
    const kubelet = { ...node.deps.kubelet, claims: () => Promise.reject(new Error('of an earlier kubelet')) };
    const release = (): void => void released.push('released');
    guard = new AllocationGuard({ deps: { ...node.deps, kubelet }, release, pollMs: 60_000 });
    node.addSlave('s2', [ID], 'm2', '/dev/fuse', 'resourceclaim:gpu');
    await guard.look();
    expect(released).toEqual(['released']);
  });
});
