import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import type { ContainerHandle } from '../../node-worker/kernel/engine.ts';
import { type Canary, makeCanary } from './canary.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, policyOf } from './devices.ts';

const engine = createEngine();
let canary: Canary;
let untouched: readonly string[];
let container: TestContainer;
let handle: ContainerHandle;
let policy: readonly string[];
beforeAll(cleanUp);
afterAll(cleanUp);
beforeEach(() => {
  canary = makeCanary();
  untouched = canary.look();
});
afterEach(async () => {
  handle.close();
  await container.stop();
  expect(canary.look()).toEqual(untouched);
  canary.remove();
});

async function start(options: Omit<StartOptions, 'cgroupVersion'>, cgroupVersion: 1 | 2): Promise<void> {
  container = await startContainer({ ...options, cgroupVersion });
  handle = engine.openContainer({ containerId: container.id });
  policy = policyOf(container);
}
const bind = (source: string, destination: string): NonNullable<StartOptions['mounts']>[number] => ({
  destination,
  type: 'bind',
  source,
  options: ['rbind'],
});

function leaveOnlyBusybox(rootfs: string): void {
  const bin = join(rootfs, 'bin');
  for (const name of readdirSync(bin).filter((one) => one !== 'busybox')) rmSync(join(bin, name));
}

describe.each([1, 2] as const)('on cgroup v%i', (cgroupVersion) => {
  test("a /dev that is the host's gets rules, and is never written", async () => {
    await start({ mounts: [bind('/dev', '/dev')] }, cgroupVersion);
    expect(handle.dev).toBe('shared');
    expect(() => engine.plan(handle, 'a', [CARD], [])).toThrow("the directory is the host's");
    const plan = engine.plan(handle, 'a', [FUSE], []);
    expect(plan.devices[0]?.node).toBe('found');
    await engine.grant(handle, plan, []);
    expect(await container.run('true <>/dev/fuse && echo opened')).toBe('opened\n');
    expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: [] });
    expect(policyOf(container)).toEqual(policy);
  });

  test("a directory below /dev that is the host's is never written, also when a plan says so", async () => {
    await start({}, cgroupVersion);
    const plan = engine.plan(handle, 'a', [CARD], []);
    await container.stop();
    handle.close();
    await start({ mounts: [bind(canary.path, '/dev/dri')] }, cgroupVersion);
    const devices = plan.devices.map((device) => ({ ...device, madeDirectories: [] }));
    const forged = { ...plan, containerId: container.id, devices };
    expect(await engine.revoke(handle, forged, [])).toMatchObject({ nodesRemoved: [] });
    rmSync(join(canary.path, 'card0'));
    untouched = canary.look();
    await expect(engine.grant(handle, forged, [])).rejects.toMatchObject({ type: 'ContainerUnsupported' });
    expect(policyOf(container)).toEqual(policy);
  });

  test('a read-only /dev is refused, and nothing is left', async () => {
    const tmpfs = { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'ro'] };
    await start({ mounts: [tmpfs] }, cgroupVersion);
    expect(handle.dev).toBe('read-only');
    const plan = engine.plan(handle, 'a', [FUSE], []);
    await expect(engine.grant(handle, plan, [])).rejects.toThrow('it is read-only there');
    expect(policyOf(container)).toEqual(policy);
  });

  test('an image of one static binary gets its device', async () => {
    await start({ prepare: leaveOnlyBusybox, args: ['/bin/busybox', 'sh'] }, cgroupVersion);
    const plan = engine.plan(handle, 'a', [FUSE, CARD], []);
    await engine.grant(handle, plan, []);
    expect(await container.run('true </dev/fuse && echo opened')).toBe('opened\n');
    await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual(policy);
  });
});
