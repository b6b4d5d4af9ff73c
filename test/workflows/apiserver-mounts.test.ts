import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MountAnswer } from '../../apiserver/mounts/mounts.ts';
import { temporalClient } from '../../apiserver/mounts/temporal-connection.ts';
import type { TemporalMounts } from '../../apiserver/mounts/temporal-mounts.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { failureOf } from '../../contract/failures.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { newMount } from './apiserver-mount.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { FUSE, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

/** Longer than a mount takes on a busy machine. */
const PATIENCE_MS = 100_000;

let harness: Harness;
let mounts: TemporalMounts;
beforeAll(async () => {
  harness = await Harness.start();
  mounts = harness.mounts();
});
afterAll(() => harness.stop());

function mount(request: MountRequest, patienceMs = PATIENCE_MS, chosen = true): Promise<MountAnswer> {
  return mounts.mount(newMount(request, chosen), patienceMs, PATIENCE_MS);
}

/** The mount as its workflow knows it, whatever object shows it. */
async function known({ name }: MountRequest): Promise<DeviceMount> {
  const mount = (await mounts.earlier(NAMESPACE, name))?.mount;
  if (mount === undefined) throw new Error(`there is no mount ${name}`);
  return mount;
}

/** Until then the one that comes later could find the mount mounted, and be answered without the identity of its object. */
async function bothAsk({ name }: MountRequest): Promise<void> {
  await eventually(async () => (await harness.updatesOf(name).catch(() => 0)) === 2);
}

describe('TemporalMounts.mount()', () => {
  test('answers the one mount to requests that are the same, one after the other and at once', async () => {
    const node = await harness.addNode('same', 4);
    const attached = Promise.withResolvers<void>();
    node.slow = attached.promise;
    const request = mountRequest('same', { idempotencyKey: 'k1' });
    const asking = Promise.all([mount(request), mount({ ...request, user: { name: 'joe' } })]);
    await bothAsk(request);
    attached.resolve();
    const answers = await asking;
    const first = await known(request);
    const again = await mount({ ...request, requestedAt: new Date().toISOString(), deadlineSeconds: 5 });
    expect([...answers, again].map(({ state }) => state)).toEqual(['mounted', 'mounted', 'mounted']);
    expect(new Set(answers.map((answer) => answer.mount.metadata.uid)).size).toBe(1);
    expect(await known(request)).toEqual(first);
    expect(harness.cluster.slaves(NAMESPACE)).toHaveLength(1);
  });

  test('refuses another request with the same key or name, and leaves the mount alone', async () => {
    await harness.addNode('other', 4);
    const keyed = mountRequest('other', { idempotencyKey: 'k1' });
    const { state } = await mount(keyed);
    expect(state).toBe('mounted');
    expect(await failureFrom(mount({ ...keyed, labels: { app: 'x' } }))).toMatchObject({
      type: 'IdempotencyKeyReused',
    });
    const { idempotencyKey: _key, ...named } = keyed;
    expect(await failureFrom(mount(named))).toMatchObject({ type: 'NameTaken' });
    expect(await failureFrom(mount(keyed, PATIENCE_MS, false))).toMatchObject({ type: 'IdempotencyKeyReused' });
    expect((await mounts.earlier(NAMESPACE, keyed.name))?.mount.status.phase).toBe('Mounted');
  });

  test('makes one mount of a key with two names, one after the other and at once', async () => {
    await harness.addNode('keyed', 4);
    const [one, two] = [
      mountRequest('keyed', { name: 'keyed-1', idempotencyKey: 'k' }),
      mountRequest('keyed', { name: 'keyed-2', idempotencyKey: 'k' }),
    ];
    const settled = await Promise.allSettled([mount(one), mount(two)]);
    expect(new Set(settled.map(({ status }) => status))).toEqual(new Set(['fulfilled', 'rejected']));
    const [winner, loser] = settled[0]?.status === 'fulfilled' ? [one, two] : [two, one];
    expect(await failureFrom(mount(loser))).toMatchObject({ type: 'IdempotencyKeyReused' });
    expect((await mount(winner)).state).toBe('mounted');
    expect(await mounts.earlier(NAMESPACE, loser.name)).toBeUndefined();
    // Another pod's requests have keys of their own.
    await harness.addNode('keyed-too', 1);
    expect((await mount(mountRequest('keyed-too', { idempotencyKey: 'k' }))).state).toBe('mounted');
  });

  test('answers a request that was not made with its failure', async () => {
    await harness.addNode('full', 0);
    const request = mountRequest('full');
    const failure = await failureFrom(mount(request));
    expect(failure).toMatchObject({ type: 'InsufficientDevices' });
    await harness.closed(request.name);
    const { type, message } = failure;
    expect(await failureFrom(mount(request))).toMatchObject({ type, message });
    expect(await failureFrom(mount(request, 0))).toMatchObject({ type, message });
  });

  test('tells that a mount has been released, and gives its name to another request', async () => {
    await harness.addNode('ended', 4);
    const request = mountRequest('ended');
    const { mount: before } = await mount(request);
    const released = await mounts.unmount(signed(unmountRequest('ended')), PATIENCE_MS);
    expect(released?.items.map(({ metadata }) => metadata.name)).toEqual([request.name]);
    await harness.closed(request.name);
    expect(await failureFrom(mount(request))).toMatchObject({ type: 'MountEnded' });
    const { state, mount: after } = await mount({ ...request, labels: { app: 'x' } });
    expect(state).toBe('mounted');
    expect(after.metadata.uid).not.toBe(before.metadata.uid);
  });

  test('tells that a mount whose workflow was terminated has failed, and makes another one', async () => {
    await harness.addNode('terminated', 4);
    const request = mountRequest('terminated');
    await mount(request);
    const before = await known(request);
    await harness.handle(request.name).terminate();
    const failed = { phase: 'Failed', reason: 'Terminated' };
    const after = await known(request);
    expect(after).toMatchObject({ metadata: { uid: before.metadata.uid }, status: failed });
    expect(Number(after.metadata.resourceVersion)).toBeGreaterThan(Number(before.metadata.resourceVersion));
    expect(await failureFrom(mount(request))).toMatchObject({ type: 'MountEnded' });
    expect((await mount({ ...request, labels: { app: 'x' } })).state).toBe('mounted');
  });

  test('answers all of 20 who ask for the one mount that waits for a device, by a few updates', async () => {
    await harness.addNode('asked', 0);
    const request = mountRequest('asked', { queue: true });
    // As the apiserver has it, with its few tries.
    const client = temporalClient(harness.access);
    const many = harness.mounts(client);
    const ask = (patienceMs: number) =>
      Promise.all(Array.from({ length: 20 }, () => many.mount(newMount(request), patienceMs, PATIENCE_MS)));
    const asking = ask(PATIENCE_MS);
    await eventually(() =>
      harness.cluster.slaves(NAMESPACE).some(({ spec }) => JSON.stringify(spec).includes('asked')),
    );
    const impatient = await ask(1_000);
    expect(new Set(impatient.map(({ state, shown }) => `${state} ${shown}`))).toEqual(new Set(['pending true']));
    harness.cluster.addDevices('asked', FUSE, 1);
    expect(new Set((await asking).map(({ state }) => state))).toEqual(new Set(['mounted']));
    await client.connection.close();
    // A workflow takes only some updates at a time: one is of the first request, one of all others, few of those who did not wait long.
    expect(await harness.updatesOf(request.name)).toBeLessThanOrEqual(5);
  });

  test('renews the lease when only that is another', async () => {
    await harness.addNode('leased', 4);
    const request = mountRequest('leased', { leaseSeconds: 600 });
    await mount(request);
    const before = await known(request);
    const { mount: same } = await mount(request);
    expect(same.status.leaseEndsAt).toBe(before.status.leaseEndsAt);
    const { mount: renewed } = await mount({ ...request, leaseSeconds: 6_000 });
    expect(renewed.metadata.uid).toBe(before.metadata.uid);
    expect(renewed.spec.leaseSeconds).toBe(6_000);
    const gained = Date.parse(renewed.status.leaseEndsAt ?? '') - Date.parse(before.status.leaseEndsAt ?? '');
    expect(gained).toBeGreaterThan(5_000_000);
    expect(Number(renewed.metadata.resourceVersion)).toBeGreaterThan(Number(before.metadata.resourceVersion));
  });

  test('goes on with the same mount for a caller who did not wait', async () => {
    const node = await harness.addNode('later', 4);
    const attached = Promise.withResolvers<void>();
    node.slow = attached.promise;
    const request = mountRequest('later');
    const begun = await mount(request, 0);
    expect(begun).toMatchObject({ state: 'pending', shown: true });
    const object = await harness.cluster.getMount({ namespace: NAMESPACE, name: request.name });
    expect(object?.metadata.uid).toBe(begun.mount.metadata.uid);
    const joining = mount(request);
    await bothAsk(request);
    attached.resolve();
    const { state, mount: mounted } = await joining;
    expect([state, mounted.metadata.uid]).toEqual(['mounted', begun.mount.metadata.uid]);
  });

  test('says that nothing is shown where no object can be', async () => {
    await harness.addNode('no-crd', 1);
    harness.cluster.installed = false;
    const request = mountRequest('no-crd', { resources: { [FUSE]: '2' }, queue: true });
    const answers = [await mount(request, 0), await mount(request, 0)];
    answers.push(await mount(mountRequest('no-crd', { name: 'no-crd-mounted' })));
    harness.cluster.installed = true;
    const said = answers.map(({ state, shown }) => `${state} ${shown}`);
    expect(said).toEqual(['pending false', 'pending false', 'mounted false']);
  });

  test('answers whoever did not wait also while no control worker shows the mount, which goes on later', async () => {
    await harness.addNode('unshown', 4);
    const wanted = newMount(mountRequest('unshown'));
    await harness.stopControl();
    // As often as Temporal does not take it in time.
    const begin = () =>
      eventually(() =>
        mounts.mount(wanted, 0, 500).catch((err: unknown) => {
          if (failureOf(err)?.type === 'TemporalUnavailable') return undefined;
          throw err;
        }),
      );
    const begun = [await begin(), await begin()];
    expect(begun.map(({ state, shown }) => `${state} ${shown}`)).toEqual(['pending false', 'pending false']);
    await harness.startControl();
    expect((await mounts.mount(wanted, PATIENCE_MS)).state).toBe('mounted');
    const slaves = harness.cluster.slaves(NAMESPACE).filter(({ spec }) => JSON.stringify(spec).includes('"unshown"'));
    expect(slaves).toHaveLength(1);
  });
});
