import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { projectMount } from '../../activities/project-mount.ts';
import type { DeviceMountObject } from '../../contract/device-mount-object.ts';
import { Harness } from './harness.ts';
import { failureFrom } from './outcome.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

const objectOf = (name: string): Promise<DeviceMountObject | undefined> =>
  harness.cluster.getMount({ namespace: NAMESPACE, name });

describe('projectMount()', () => {
  test('writes nothing over a later state, or over a later mount of the name', async () => {
    await harness.addNode('late', 1);
    const request = signed(mountRequest('late'));
    await harness.mount(request);
    const early = await harness.recordOf('late-m');
    await harness.unmount(signed(unmountRequest('late')));
    await harness.closed('late-m');
    const released = await objectOf('late-m');
    const { uid, resourceVersion } = released?.metadata ?? {};
    const deps = harness.dependencies();
    // Also where the clock of Temporal is far ahead.
    const behind = { ...deps, now: () => new Date(Date.now() - 120_000) };
    for (const each of [deps, behind]) {
      const answer = { uid, resourceVersion, later: released?.status?.version };
      expect(await projectMount(each, { signed: request, mount: early })).toEqual(answer);
      expect(await objectOf('late-m')).toEqual(released);
    }
    await harness.mount(signed(mountRequest('late', { labels: { app: 'x' } })));
    const again = await harness.shows('late-m');
    const late = { signed: request, mount: early };
    expect(await projectMount(deps, late)).toEqual({ final: 'a later mount has its name' });
    expect(await objectOf('late-m')).toEqual(again);
  });

  test('writes nothing twice', async () => {
    await harness.addNode('twice', 1);
    const request = signed(mountRequest('twice'));
    await harness.mount(request);
    const object = await harness.shows('twice-m');
    const writes = harness.cluster.mountWrites;
    await projectMount(harness.dependencies(), { signed: request, mount: await harness.recordOf('twice-m') });
    expect(harness.cluster.mountWrites).toBe(writes);
    expect(await objectOf('twice-m')).toEqual(object);
  });

  test('replaces the object of another mount whose time cannot be', async () => {
    await harness.addNode('future', 1);
    const request = signed(mountRequest('future'));
    await harness.mount(request);
    const { status, metadata } = await harness.shows('future-m');
    const version = String(Date.now() + 120_000);
    harness.cluster.edit({ namespace: NAMESPACE, name: 'future-m' }, (object) => ({
      ...object,
      ...(status !== undefined && { status: { ...status, mountUid: 'another', version } }),
    }));
    const mount = await harness.recordOf('future-m');
    await projectMount(harness.dependencies(), { signed: request, mount });
    const object = await objectOf('future-m');
    expect(object?.metadata.uid).not.toBe(metadata.uid);
    expect(object?.status).toMatchObject({ mountUid: mount.metadata.uid, version: mount.metadata.resourceVersion });
  });

  test('gives up where the object of another mount is being deleted and stays', async () => {
    await harness.addNode('kept', 1);
    const request = signed(mountRequest('kept'));
    await harness.mount(request);
    const { status } = await harness.shows('kept-m');
    const ref = { namespace: NAMESPACE, name: 'kept-m' };
    harness.cluster.edit(ref, (object) => ({
      ...object,
      metadata: { ...object.metadata, finalizers: ['example.com/keep'] },
      ...(status !== undefined && { status: { ...status, mountUid: 'another', version: '1' } }),
    }));
    const input = { signed: request, mount: await harness.recordOf('kept-m') };
    const deps = harness.dependencies();
    const final = 'the object of another mount has its name and is being deleted: a finalizer keeps it';
    expect(await projectMount(deps, input)).toEqual({ final });
    harness.cluster.edit(ref, ({ metadata, ...object }) => ({ ...object, metadata: { ...metadata, finalizers: [] } }));
    await projectMount(deps, input);
    expect((await objectOf('kept-m'))?.status?.mountUid).toBe(input.mount.metadata.uid);
  });

  test('looks again when somebody has written in between', async () => {
    await harness.addNode('raced', 1);
    const request = signed(mountRequest('raced', { leaseSeconds: 600 }));
    await harness.mount(request);
    // Then nothing is read but here.
    await harness.shows('raced-m');
    const record = await harness.recordOf('raced-m');
    let races = 0;
    harness.cluster.afterRead = (ref) => {
      const annotations = { race: String(races) };
      if (races++ < 2) harness.cluster.edit(ref, (now) => ({ ...now, metadata: { ...now.metadata, annotations } }));
    };
    const version = String(Number(record.metadata.resourceVersion) + 1);
    const mount = { ...record, metadata: { ...record.metadata, resourceVersion: version } };
    await projectMount(harness.dependencies(), { signed: request, mount });
    harness.cluster.afterRead = undefined;
    expect([races, (await objectOf('raced-m'))?.status?.version]).toEqual([3, version]);
  });

  test('makes none for a target that is gone, or that is not in the request', async () => {
    await harness.addNode('left', 1);
    const request = signed(mountRequest('left'));
    await harness.mount(request);
    const mount = await harness.recordOf('left-m');
    const deps = harness.dependencies();
    const others = { ...mount, metadata: { ...mount.metadata, name: 'x' } };
    expect(await failureFrom(projectMount(deps, { signed: request, mount: others }))).toMatchObject({
      type: 'InvalidSignature',
    });
    harness.cluster.removePod({ namespace: NAMESPACE, name: 'left' });
    await harness.closed('left-m');
    expect(await projectMount(deps, { signed: request, mount })).toEqual({ final: 'its target is gone' });
    expect(await objectOf('left-m')).toBeUndefined();
  });
});
