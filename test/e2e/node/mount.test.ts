import { afterAll, afterEach, expect, test } from '@jest/globals';
import { deviceState } from '../device-state.ts';
import { canOpen, holdOpen, inPod } from '../exec.ts';
import { failureIn, messageOf } from '../kube.ts';
import { laneNode } from '../lane.ts';
import {
  deletePod,
  deviceMount,
  expectNothingMounted,
  FUSE,
  mount,
  mountOk,
  ruleAllowsFuse,
  slavesGone,
  slavesOf,
  TUN,
  unmount,
} from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

const node = laneNode().name;
const targets = new Targets();
const target = (): Promise<string> => targets.start(node);

afterEach(() => targets.remove());
afterAll(expectNoPods);

test('a mounted /dev/fuse opens, and after unmount it is gone', async () => {
  const pod = await target();
  expect((await inPod(pod, 'exec 3<>/dev/null && exec 3</dev/fuse')).stderr).toMatch(/nonexistent|No such file/i);
  expect(await ruleAllowsFuse(pod)).toBe(false);
  const before = await deviceState(pod);

  const mounted = await mountOk(pod, FUSE);
  expect(mounted).toMatchObject({
    kind: 'DeviceMount',
    spec: { podName: pod, container: 'main', deviceType: 'HOSTDEV', resources: { [FUSE]: '1' } },
    status: {
      phase: 'Mounted',
      node,
      devices: [{ resource: FUSE, nodes: [{ path: '/dev/fuse', type: 'c', major: 10, minor: 229 }] }],
    },
  });
  expect(await canOpen(pod, '/dev/fuse')).toBe(true);
  expect(await deviceState(pod)).not.toEqual(before);
  expect(await slavesOf(pod)).toEqual(mounted.status.slaves.map(({ name }) => name));

  const released = await unmount(pod);
  expect(released).toMatchObject({
    status: 200,
    body: { kind: 'DeviceMountList', items: [{ metadata: { name: mounted.metadata.name } }] },
  });
  await expectNothingMounted(pod);
  expect(await deviceState(pod)).toEqual(before);
  await slavesGone(pod);
  await until(
    'the mount to be released',
    async () => (await deviceMount(mounted.metadata.name))?.status.phase === 'Released',
  );
});

test('a device in a folder gets the permissions of its plugin and no more', async () => {
  const pod = await target();
  await mountOk(pod, TUN);
  expect(await canOpen(pod, '/dev/net/tun')).toBe(true);
  expect(await ruleAllowsFuse(pod)).toBe(false);
  expect((await unmount(pod)).status).toBe(200);
  expect((await inPod(pod, 'ls /dev/net')).code).not.toBe(0);
});

test('a split mount gives one device back and keeps the other', async () => {
  const [pod, other] = await Promise.all([target(), target()]);
  const both = { resources: { [FUSE]: '1', [TUN]: '1' }, split: true };
  const { metadata } = await mountOk(pod, FUSE, '', both);
  expect(await slavesOf(pod)).toHaveLength(2);
  expect((await unmount(pod, '&device=/dev/net/tun')).status).toBe(200);
  expect(await canOpen(pod, '/dev/fuse')).toBe(true);
  expect((await inPod(pod, 'ls /dev/net')).code).not.toBe(0);
  await until('one slave to be left', async () => (await slavesOf(pod)).length === 1);
  await mountOk(other, TUN);
  await until('one device to be shown', async () => (await deviceMount(metadata.name))?.status.devices.length === 1);
  expect(await deviceMount(metadata.name)).toMatchObject({
    status: { phase: 'Mounted', devices: [{ resource: FUSE }] },
  });
  expect((await unmount(pod)).status).toBe(200);
  await expectNothingMounted(pod);
});

test('a device in use stays mounted, with the processes named, until it is forced', async () => {
  const pod = await target();
  await mountOk(pod, FUSE);
  const holder = await holdOpen(pod, '/dev/fuse');
  const busy = await unmount(pod);
  expect([busy.status, failureIn(busy)]).toEqual([409, 'DeviceBusy']);
  expect(messageOf(busy)).toMatch(/sleep/);
  expect(await canOpen(pod, '/dev/fuse')).toBe(true);
  expect((await unmount(pod, '&force=1')).status).toBe(200);
  expect((await inPod(pod, `test -e /proc/${holder}/fd/3`)).code).toBe(1);
  await expectNothingMounted(pod);
});

test('without a free device the scheduler’s own words are the answer, and nothing is left', async () => {
  const [holder, pod] = await Promise.all([target(), target()]);
  await mountOk(holder, FUSE);
  const refused = await mount(pod, FUSE);
  expect([refused.status, failureIn(refused)]).toEqual([409, 'InsufficientDevices']);
  expect(messageOf(refused)).toMatch(/Insufficient hostdev\.k8s\.io\/dev_fuse/);
  await slavesGone(pod);
  await expectNothingMounted(pod);
  expect((await unmount(holder)).status).toBe(200);
  await slavesGone(holder);
  await mountOk(pod, FUSE);
});

test('a target deleted while it waits for its device leaves nothing', async () => {
  const [holder, pod] = await Promise.all([target(), target()]);
  await mountOk(holder, FUSE);
  const mounting = mount(pod, FUSE, '&queue=true&wait_second=35', { name: `waits-${pod}` });
  await until('the slave to be there', async () => (await slavesOf(pod)).length === 1);
  await deletePod(pod);
  const ended = await mounting;
  expect(failureIn(ended)).toBe('TargetGone');
  await slavesGone(pod);
  await until('its object to go with it', async () => (await deviceMount(`waits-${pod}`)) === undefined);
});

test('a target deleted at any moment of a mount leaves nothing', async () => {
  const moments = [0, 50, 100, 150];
  const pods = await Promise.all(moments.map(target));
  for (const [index, pod] of pods.entries()) {
    const mounting = mount(pod, FUSE, '', { name: `races-${pod}` });
    // The moment itself is what is tested.
    await new Promise((resolve) => {
      setTimeout(resolve, moments[index]);
    });
    await deletePod(pod);
    await mounting;
    await slavesGone(pod);
    await until('the mount to have ended', async () => {
      const phase = (await deviceMount(`races-${pod}`))?.status.phase;
      return phase === undefined || phase === 'Failed' || phase === 'Released';
    });
  }
  await mountOk(await target(), FUSE);
});
