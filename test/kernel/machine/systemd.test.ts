import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ProgramInfo } from '../../../node-worker/kernel/bpf.ts';
import type { ContainerHandle, Grant } from '../../../node-worker/kernel/engine.ts';
import { forgetProved } from '../../../node-worker/kernel/recover.ts';
import { cleanUp, startContainer, type TestContainer } from '../container.ts';
import { FUSE, programsOf, until } from '../devices.ts';
import { engine } from '../engine.ts';
import { restoreSysctls, setSysctls } from '../sysctl.ts';
import { type NestedSystemd, startSystemd } from '../systemd.ts';

let systemd: NestedSystemd;
beforeAll(async () => {
  cleanUp();
  systemd = await startSystemd(2);
});
afterAll(async () => {
  await systemd.stop();
  cleanUp();
});

describe('a container in a scope of systemd', () => {
  let container: TestContainer;
  let handle: ContainerHandle;
  let before: readonly ProgramInfo[];
  let plan: Grant;
  const unit = (): string => `cri-containerd-${container.id}.scope`;
  const runtimesOwn = (): string[] => before.filter(({ name }) => name !== 'sd_devices').map(({ tag }) => tag);
  const opens = async (): Promise<boolean> =>
    (await container.run('true </dev/fuse && echo opened')).includes('opened');
  const start = async (runtime: 'runc' | 'crun'): Promise<void> => {
    container = await startContainer({ cgroupVersion: 2, runtime, systemd });
    handle = await engine.openContainer({ containerId: container.id });
    before = programsOf(container);
    plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
  };
  afterEach(async () => {
    restoreSysctls();
    handle.close();
    await container.stop();
  });

  test.each(['runc', 'crun'] as const)('of %s gets a device and gives it back', async (runtime) => {
    await start(runtime);
    expect(await opens()).toBe(true);
    await engine.revoke(handle, plan, []);
    expect(programsOf(container).map(({ name, tag }) => [name, tag])).toEqual(
      before.map(({ name, tag }) => [name, tag]),
    );
  });

  test.each([
    ['daemon-reload', () => systemd.systemctl('daemon-reload')],
    ['set-property', () => systemd.systemctl('set-property', '--runtime', unit(), 'TasksMax=150')],
    ['daemon-reexec', () => systemd.systemctl('daemon-reexec')],
  ])('of runc has its device mended after %s, again and again', async (_, change) => {
    await start('runc');
    for (let round = 0; round < 3; round++) {
      change();
      // A daemon-reexec answers before it is done.
      await until(() => engine.drifted(handle, [plan]), Boolean);
      await until(opens, (open) => !open);
      expect((await engine.grant(handle, plan, [])).rulesChanged).toBeGreaterThan(0);
      expect(await opens()).toBe(true);
      expect(programsOf(container).length).toBe(before.length);
    }
    await engine.revoke(handle, plan, []);
    expect(await opens()).toBe(false);
    // Nothing of ours is left: systemd's own program is the one it made last, the runtime's the one it made first.
    const after = programsOf(container);
    expect(after.map(({ name }) => name)).toEqual(expect.not.arrayContaining([expect.stringMatching(/^dm_/)]));
    expect(after.filter(({ name }) => name !== 'sd_devices').map(({ tag }) => tag)).toEqual(runtimesOwn());
    expect(after.filter(({ name }) => name === 'sd_devices').length).toBeLessThanOrEqual(1);
  });

  test('of runc has its device mended after a daemon-reload though the kernel hides the instructions', async () => {
    setSysctls({ 'net/core/bpf_jit_harden': '2', 'kernel/kptr_restrict': '2' });
    await start('runc');
    for (let round = 0; round < 2; round++) {
      systemd.systemctl('daemon-reload');
      await until(opens, (open) => !open);
      // As a worker that starts only now.
      forgetProved();
      expect(await engine.drifted(handle, [plan])).toBe(true);
      await engine.grant(handle, plan, []);
      expect(await opens()).toBe(true);
    }
    forgetProved();
    await engine.revoke(handle, plan, []);
    expect(await opens()).toBe(false);
    expect(programsOf(container).filter(({ name }) => name.startsWith('dm_'))).toEqual([]);
  });

  test('of crun, which tells systemd nothing of devices, keeps its device', async () => {
    await start('crun');
    systemd.systemctl('daemon-reload');
    systemd.systemctl('set-property', '--runtime', unit(), 'TasksMax=150');
    expect(await engine.drifted(handle, [plan])).toBe(false);
    expect(await opens()).toBe(true);
  });

  test('of runc has its device mended after an update by the runtime', async () => {
    await start('runc');
    // The unified hierarchy of a hybrid host has no controllers, so the runtime fails once systemd has done its part.
    expect(() => container.update({ cpu: { shares: 512 } })).toThrow('cpu.weight');
    await until(opens, (open) => !open);
    expect(await engine.drifted(handle, [plan])).toBe(true);
    await engine.grant(handle, plan, []);
    expect(await opens()).toBe(true);
    await engine.revoke(handle, plan, []);
    expect(programsOf(container).map(({ tag }) => tag)).toEqual(expect.arrayContaining(runtimesOwn()));
  });
});
