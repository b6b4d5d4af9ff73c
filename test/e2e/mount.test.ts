import { afterEach, describe, expect, test } from '@jest/globals';
import { NODES } from './cluster.ts';
import { deviceState } from './device-state.ts';
import {
  deletePod,
  deviceMount,
  expectNothingMounted,
  FUSE,
  inPod,
  mount,
  mountOk,
  ruleAllowsFuse,
  slavesGone,
  slavesOf,
  TUN,
  unmount,
} from './pods.ts';
import { Targets } from './targets.ts';
import { until } from './until.ts';

const targets = new Targets();
const target = (node: string): Promise<string> => targets.start(node);

afterEach(() => targets.remove());

describe.each(NODES.map(({ name }) => name))('on %s', (node) => {
  test('a mounted /dev/fuse opens, and after unmount it is gone', async () => {
    const pod = await target(node);
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
    expect(await inPod(pod, 'exec 3<>/dev/fuse && echo opened')).toMatchObject({ code: 0, stdout: 'opened\n' });
    expect(await deviceState(pod)).not.toEqual(before);
    expect(await slavesOf(pod)).toEqual(mounted.status.slaves.map(({ name }) => name));

    const released = await unmount(pod);
    expect(released).toMatchObject({ code: 0 });
    expect(JSON.parse(released.stdout)).toMatchObject({
      kind: 'DeviceMountList',
      items: [{ metadata: { name: mounted.metadata.name } }],
    });
    await expectNothingMounted(pod);
    expect(await deviceState(pod)).toEqual(before);
    await slavesGone(pod);
    expect(await deviceMount(mounted.metadata.name)).toMatchObject({ status: { phase: 'Released' } });
  });

  test('a device in a folder gets the permissions of its plugin and no more', async () => {
    const pod = await target(node);
    await mountOk(pod, TUN);
    expect(await inPod(pod, 'exec 3<>/dev/net/tun && echo opened')).toMatchObject({ stdout: 'opened\n' });
    expect(await ruleAllowsFuse(pod)).toBe(false);
    expect((await unmount(pod)).code).toBe(0);
    expect((await inPod(pod, 'ls /dev/net')).code).not.toBe(0);
  });

  test('a split mount gives one device back and keeps the other', async () => {
    const [pod, other] = [await target(node), await target(node)];
    const both = { resources: { [FUSE]: '1', [TUN]: '1' }, split: true };
    const { metadata } = await mountOk(pod, FUSE, '', both);
    expect(await slavesOf(pod)).toHaveLength(2);
    expect((await unmount(pod, '&device=/dev/net/tun')).code).toBe(0);
    expect(await inPod(pod, 'exec 3<>/dev/fuse && echo opened')).toMatchObject({ stdout: 'opened\n' });
    expect((await inPod(pod, 'ls /dev/net')).code).not.toBe(0);
    await until('one slave to be left', async () => (await slavesOf(pod)).length === 1);
    await mountOk(other, TUN);
    expect(await deviceMount(metadata.name)).toMatchObject({
      status: { phase: 'Mounted', devices: [{ resource: FUSE }] },
    });
    expect((await unmount(pod)).code).toBe(0);
    await expectNothingMounted(pod);
  });

  test('a device in use stays mounted, with the processes named, until it is forced', async () => {
    const pod = await target(node);
    await mountOk(pod, FUSE);
    await inPod(pod, 'sleep 1000 3<>/dev/fuse >/dev/null 2>&1 &');
    const busy = await unmount(pod);
    expect(busy.code).toBe(1);
    expect(busy.stderr).toMatch(/sleep/);
    expect((await inPod(pod, 'exec 3<>/dev/fuse')).code).toBe(0);
    expect((await unmount(pod, '&force=1')).code).toBe(0);
    expect((await inPod(pod, 'ps')).stdout).not.toMatch(/sleep 1000$/m);
    await expectNothingMounted(pod);
  });

  test('without a free device the scheduler’s own words are the answer, and nothing is left', async () => {
    const [holder, pod] = [await target(node), await target(node)];
    await mountOk(holder, FUSE);
    const refused = await mount(pod, FUSE);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/Insufficient hostdev\.k8s\.io\/dev_fuse/);
    await slavesGone(pod);
    await expectNothingMounted(pod);
    expect((await unmount(holder)).code).toBe(0);
    await slavesGone(holder);
    await mountOk(pod, FUSE);
  });

  test('a target deleted while it waits for its device leaves nothing', async () => {
    const [holder, pod] = [await target(node), await target(node)];
    await mountOk(holder, FUSE);
    const mounting = mount(pod, FUSE, '&queue=true&wait_second=35', { name: `waits-${pod}` });
    await until('the slave to be there', async () => (await slavesOf(pod)).length === 1);
    await deletePod(pod);
    const ended = await mounting;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/target pod has ended|TargetGone|deleted|gone/);
    await slavesGone(pod);
    await until('the mount to have ended', async () => (await deviceMount(`waits-${pod}`))?.status.phase === 'Failed');
  });

  test('a target deleted at any moment of a mount leaves nothing', async () => {
    for (const afterMs of [0, 60, 120, 240]) {
      const pod = await target(node);
      const mounting = mount(pod, FUSE, '', { name: `races-${pod}` });
      await new Promise((resolve) => {
        setTimeout(resolve, afterMs);
      });
      await deletePod(pod);
      await mounting;
      await slavesGone(pod);
      await until('the mount to have ended', async () => {
        const phase = (await deviceMount(`races-${pod}`))?.status.phase;
        return phase === undefined || phase === 'Failed' || phase === 'Released';
      });
    }
    await mountOk(await target(node), FUSE);
  });
});
