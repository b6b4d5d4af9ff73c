import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { mountRequest, NAMESPACE, PUBLIC_KEY, signed, unmountRequest } from './requests.ts';

const next = generateKeyPairSync('ed25519');

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

describe('a mount whose signing key was retired', () => {
  test('goes on, finds an owner when Temporal has lost it, and is unmounted', async () => {
    const node = await harness.addNode('turn', 2);
    const { status: before } = await harness.mount(signed(mountRequest('turn')));
    const { metadata } = await harness.recordOf('turn-m');
    await eventually(() => harness.eventsOf('turn').length === 1);
    const early = signed(mountRequest('turn', { name: 'turn-early' }));
    harness.publicKeys = [{ key: next.publicKey }, { key: PUBLIC_KEY, retiredAtMs: Date.now() }];

    expect(await failureFrom(harness.mount(early))).toMatchObject({ type: 'InvalidSignature' });
    expect(await failureFrom(harness.unmount(signed(unmountRequest('turn'))))).toMatchObject({
      type: 'InvalidSignature',
    });
    const { status } = await harness.mount(signed(mountRequest('turn', { name: 'turn-late' }), next.privateKey));
    expect(status.phase).toBe('Mounted');
    // An object that its owner could not write any more is a finding of its own.
    await harness.shows('turn-late');

    await harness.loseTemporal();
    const { findings } = await harness.reconcile();
    expect(findings.map(({ mount, action, done }) => `${action} ${mount} ${done}`).toSorted()).toEqual([
      'adopt turn-late true',
      'adopt turn-m true',
    ]);
    await eventually(async () => (await harness.pendingSteps('turn-m')).length === 0);
    expect([...node.attached.keys()].toSorted()).toEqual([`${NAMESPACE}/turn-late`, `${NAMESPACE}/turn-m`]);

    // As much as is known of it; nothing is made up.
    const [device] = before.devices;
    const adopted = await harness.handle('turn-m').query<DeviceMount>('deviceMount');
    expect(adopted.status.devices).toEqual([{ ...device, nodes: [{ path: '/dev/fuse' }] }]);
    expect(adopted.metadata.uid).toBe(metadata.uid);

    const { items } = await harness.unmount(signed(unmountRequest('turn', { mount: 'turn-m' }), next.privateKey));
    expect(items).toMatchObject([{ metadata: { name: 'turn-m' } }]);
    expect(await harness.handle('turn-m').result()).toMatchObject({ status: { phase: 'Released' } });
    // What the pod is told, too, is told by the old request.
    expect(harness.eventsOf('turn').at(-1)).toBe('UnMountDevice');
    expect([...node.attached.keys()]).toEqual([`${NAMESPACE}/turn-late`]);
  });
});

describe('every history of this file', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});
