import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { OBJECT_LABELS } from '../../../contract/device-mount-object.ts';
import { hasCondition } from '../../../deploy/local/kube-api.ts';
import { NODES } from '../cluster.ts';
import { deviceState } from '../device-state.ts';
import { find } from '../kube.ts';
import { kubectl, kubectlOk, kubectlUntil } from '../kubectl.ts';
import { deviceMount, FUSE, mountOk, mountsPath, startPod, TUN, unmount } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { until } from '../until.ts';
import { aggregated } from './direct.ts';
import { foundRightAfter } from './right-after.ts';

const RESOURCE = 'devicemounts.device-mounter.io';
const node = NODES[0]?.name ?? '';
let pod: string;
let mounted: DeviceMount;
beforeAll(async () => {
  pod = await startPod(node);
  mounted = await mountOk(pod, FUSE, '', { labels: { app: pod }, leaseSeconds: 3_600 });
});
afterAll(async () => {
  await removeTargets([pod]);
  await expectNoPods();
});

const apiService = (version: string) =>
  find<object>(`/apis/apiregistration.k8s.io/v1/apiservices/${version}.device-mounter.io`);

describe('the group device-mounter.io', () => {
  test('has its verbs from device-mounter and its objects from kube-apiserver itself', async () => {
    const [verbs, objects] = await Promise.all([apiService('v1alpha1'), apiService('v1beta1')]);
    expect([hasCondition(verbs, 'Available'), hasCondition(objects, 'Available')]).toEqual([true, true]);
    expect(verbs).toHaveProperty('spec.service.name', 'device-mounter-apiserver');
    expect(objects).not.toHaveProperty('spec.service');
    const text = await kubectlOk(['api-resources', '--api-group=device-mounter.io', '-o', 'wide', '--no-headers']);
    expect(text).toMatch(/^devicemounts +dmount +device-mounter.io\/v1beta1 +true +DeviceMount +.*get,list.*watch/);
  });
});

const described = () => kubectlOk(['describe', RESOURCE, mounted.metadata.name]);

describe('kubectl', () => {
  test('get prints a table, more of it with -o wide', async () => {
    const short = await kubectlOk(['get', 'dmount', mounted.metadata.name]);
    expect(short).toMatch(/^NAME +PHASE +POD +CONTAINER +TYPE +DEVICES +NODE +LEASE +AGE *\n/);
    expect(short).toMatch(new RegExp(` Mounted +${pod} +main +HOSTDEV +/dev/fuse +${node} +\\S+ `));
    expect(await kubectlOk(['get', RESOURCE, '-o', 'wide'])).toMatch(/^NAME .*AGE +USER +REASON +MESSAGE/);
  });

  test.each([
    ['a label of the mount', () => ['-l', `app=${pod}`]],
    ['the UID of the pod', () => ['-l', `${OBJECT_LABELS.targetUid}=${mounted.spec.podUid}`]],
    ['a field', () => [`--field-selector=spec.podName=${pod},status.phase=Mounted`]],
    ['all namespaces', () => ['-A', `--field-selector=spec.podName=${pod}`]],
  ])('get selects by %s', async (_name, args) => {
    expect(await kubectlOk(['get', RESOURCE, '-o', 'name', ...args()])).toBe(
      `devicemount.device-mounter.io/${mounted.metadata.name}\n`,
    );
  });

  test('wait finds a mount right after its 202, and get -w sees it made and ended', async () => {
    const name = `${pod}-watched`;
    const selected = [RESOURCE, '-w', '--output-watch-events', '-l', `app=${name}`];
    let seen = '';
    const watching = kubectlUntil(['get', ...selected], new RegExp(`MODIFIED +${name} +Released`), (output) => {
      seen = output;
    }).catch(String);
    await mountOk(pod, TUN, '&wait_second=0', { name, labels: { app: name } });
    await kubectlOk(['wait', `devicemount/${name}`, '--for=condition=Mounted', '--timeout=180s']);
    const made = new RegExp(` +${name} +Mounted +${pod} `);
    await until('the watch to see it made', async () => made.test(seen));
    expect((await unmount(pod, `&mount=${name}`)).status).toBe(200);
    await kubectlOk(['wait', `devicemount/${name}`, '--for=condition=Mounted=False', '--timeout=180s']);
    expect(await watching).toMatch(new RegExp(`ADDED +${name} `));
  });

  test('describe tells all of it, with its conditions and Events', async () => {
    await until('its Event', async () => /Events:[\s\S]*MountDevice/.test(await described()));
    const text = await described();
    expect(text).toMatch(/Kind: +DeviceMount/);
    expect(text).toMatch(/Phase: +Mounted/);
    expect(text).toMatch(/Status: +True\s+Type: +Mounted[\s\S]*Status: +False\s+Type: +Degraded/);
    expect(text).toMatch(new RegExp(`Pod Name: +${pod}`));
  });

  test.each([
    ['devicemounts', /KIND: +DeviceMount[\s\S]*VERSION: +v1beta1[\s\S]*spec\t<Object>/],
    ['devicemounts.spec.podName', /Pod that uses the devices/],
    ['devicemounts.status', /conditions\t<\[\]Object>[\s\S]*phase\t<string>/],
  ])('explain %s', async (path, expected) => {
    expect(await kubectlOk(['explain', path])).toMatch(expected);
  });
});

describe('a client that caches only metadata', () => {
  test('watches that of mounts', async () => {
    const { name } = mounted.metadata;
    const query = `watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3D${name}`;
    const accept = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
    // A machine that stands still for that second sees the watch end before it has begun.
    const { code, text } = await until('the watch to tell something', async () => {
      const answer = await aggregated({ path: `${mountsPath()}?${query}`, headers: ['Accept', accept] });
      return answer.text !== '' && answer;
    });
    const [first = '{}'] = text.split('\n');
    expect([code, JSON.parse(first)]).toMatchObject([
      200,
      { type: 'ADDED', object: { kind: 'PartialObjectMetadata', metadata: { name, uid: mounted.metadata.uid } } },
    ]);
    expect(text).not.toContain('"spec"');
  });
});

/** What an administrator may do with any other object. */
const EDITS: readonly (readonly [string, () => readonly string[]])[] = [
  ['its spec', () => ['patch', '--type=merge', '-p', '{"spec":{"podName":"other"}}']],
  ['its status', () => ['patch', '--subresource=status', '--type=merge', '-p', '{"status":{"phase":"Released"}}']],
  ['its labels', () => ['label', `${OBJECT_LABELS.phase}=Released`, '--overwrite']],
];

describe('an administrator', () => {
  const refusal = /denied request: .*only device-mounter writes DeviceMounts/;

  test.each(EDITS)('may not edit %s', async (_name, edit) => {
    const [verb = '', ...args] = edit();
    const { code, stderr } = await kubectl([verb, RESOURCE, mounted.metadata.name, ...args]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(refusal)]);
  });

  test('may not make one', async () => {
    const { apiVersion, kind, spec } = (await deviceMount(mounted.metadata.name)) ?? {};
    const own = JSON.stringify({ apiVersion, kind, spec, metadata: { name: `${pod}-own` } });
    const { code, stderr } = await kubectl(['create', '-f', '-'], own);
    expect([code, stderr]).toEqual([1, expect.stringMatching(refusal)]);
  });

  test('may delete one: it comes back, and the device stays', async () => {
    const { name } = mounted.metadata;
    const [before, state] = [await deviceMount(name), await deviceState(pod)];
    await kubectlOk(['delete', RESOURCE, name]);
    const again = await until('the object to be back', async () => {
      const object = await deviceMount(name);
      return object?.metadata.uid !== before?.metadata.uid && object?.status.phase === 'Mounted' && object;
    });
    expect(again.status).toMatchObject({ mountUid: before?.status.mountUid, devices: before?.status.devices });
    expect(await deviceState(pod)).toEqual(state);
  });
});

describe('an unmount', () => {
  test('finds a mount that was answered 202 just now by the other replica', () => foundRightAfter(pod, 10));

  test('is shown, once the devices are free for others', async () => {
    expect((await unmount(pod)).status).toBe(200);
    await until('its end', async () => (await deviceMount(mounted.metadata.name))?.status.phase === 'Released');
    const object = await deviceMount(mounted.metadata.name);
    expect(object?.status).toMatchObject({ reason: 'Unmounted', devices: [], slaves: [] });
    expect(hasCondition(object, 'Mounted')).toBe(false);
  });
});
