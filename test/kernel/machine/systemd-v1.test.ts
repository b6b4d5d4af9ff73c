import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ContainerHandle, Grant } from '../../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from '../container.ts';
import { FUSE, policyOf, until } from '../devices.ts';
import { engine } from '../engine.ts';
import { type NestedSystemd, startSystemd } from '../systemd.ts';

let systemd: NestedSystemd;
let container: TestContainer;
let handle: ContainerHandle;
let plan: Grant;
let before: readonly string[];
beforeAll(async () => {
  cleanUp();
  systemd = await startSystemd(1);
});
afterAll(async () => {
  await systemd.stop();
  cleanUp();
});
afterEach(async () => {
  handle.close();
  await container.stop();
});

async function start(): Promise<void> {
  container = await startContainer({ cgroupVersion: 1, systemd });
  handle = await engine.openContainer({ containerId: container.id });
  before = policyOf(container);
  plan = await engine.plan(handle, 'a', [FUSE], []);
  await engine.grant(handle, plan, []);
}
const opens = async (): Promise<boolean> => (await container.run('true </dev/fuse && echo opened')).includes('opened');

describe('a container in a scope of systemd on cgroup v1', () => {
  test('is found, gets a device and gives it back', async () => {
    await start();
    expect(handle).toMatchObject({ pid: container.pid, cgroup: { version: 1, path: container.cgroup } });
    expect(handle.cgroup.path).toMatch(/\/devices\/.*\/kubepods\.slice\/cri-containerd-[0-9a-f]{64}\.scope$/);
    expect(await opens()).toBe(true);
    await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual(before);
    expect(await opens()).toBe(false);
  });

  test.each([
    ['daemon-reload', () => systemd.systemctl('daemon-reload')],
    ['set-property', (unit: string) => systemd.systemctl('set-property', '--runtime', unit, 'TasksMax=150')],
  ])('has its device mended after %s, again and again', async (_, change) => {
    await start();
    for (let round = 0; round < 3; round++) {
      change(`cri-containerd-${container.id}.scope`);
      await until(() => engine.drifted(handle, [plan]), Boolean);
      expect(await opens()).toBe(false);
      expect((await engine.grant(handle, plan, [])).rulesChanged).toBe(1);
      expect(await engine.drifted(handle, [plan])).toBe(false);
      expect(await opens()).toBe(true);
    }
    await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual(before);
  });
});
