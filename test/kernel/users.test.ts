import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import type { ContainerHandle, DeviceUser } from '../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { FUSE, until } from './devices.ts';

const engine = createEngine();
beforeAll(cleanUp);
afterAll(cleanUp);

describe.each([1, 2] as const)('users of a device on cgroup v%i', (cgroupVersion) => {
  let container: TestContainer;
  let handle: ContainerHandle;
  beforeEach(async () => {
    container = await startContainer({ cgroupVersion });
    handle = engine.openContainer({ containerId: container.id, pid: container.pid });
    await engine.grant(handle, engine.plan(handle, 'a', [FUSE], []), []);
  });
  afterEach(async () => {
    handle.close();
    await container.stop();
  });
  const users = (): readonly DeviceUser[] => engine.usersOf(handle, [FUSE]);
  const untilUsed = (count: number): Promise<readonly DeviceUser[]> => until(users, (found) => found.length === count);

  test('are found by what they hold, also after the node is gone', async () => {
    expect(users()).toEqual([]);
    await container.run('sleep 1000 3<>/dev/fuse &');
    await untilUsed(1);
    await container.run('rm /dev/fuse');
    expect(await untilUsed(1)).toMatchObject([
      { command: 'sleep', via: 'fd', device: 'c 10:229', containerInit: false },
    ]);
  });

  test('end on TERM, and on KILL when they ignore it', async () => {
    await container.run(
      'sleep 1000 3<>/dev/fuse & sh -c "trap : TERM; while :; do sleep 1000 3<&-; done" 3<>/dev/fuse &',
    );
    await untilUsed(2);
    const killed = await engine.killUsers(handle, [FUSE], { graceMs: 200 });
    expect(killed.map(({ command }) => command)).toEqual(expect.arrayContaining(['sleep', 'sh']));
    expect(users()).toEqual([]);
    expect(await container.run('echo alive')).toBe('alive\n');
  });

  test('are not killed when the init of the container is one of them', async () => {
    await container.run('sleep 1000 3<>/dev/fuse & exec 4<>/dev/fuse');
    await untilUsed(2);
    await expect(engine.killUsers(handle, [FUSE], { graceMs: 50 })).rejects.toMatchObject({
      type: 'DeviceBusy',
      message: expect.stringMatching(/\(sh, the init of the container\) uses c 10:229/),
    });
    expect(users()).toHaveLength(2);
    expect(await engine.killUsers(handle, [FUSE], { graceMs: 50, allowInit: true })).not.toEqual([]);
    expect(handle.isAlive()).toBe(false);
  });

  test('are all ended although they fork faster than they are found', async () => {
    const plan = engine.plan(handle, 'a', [FUSE], []);
    await container.run("echo 'trap : TERM; sh /tmp/bomb & sh /tmp/bomb & wait' >/tmp/bomb");
    await container.run('sh /tmp/bomb 3<>/dev/fuse 2>/dev/null &');
    await until(users, (found) => found.length > 20);
    await engine.revoke(handle, plan, []);
    await engine.killUsers(handle, [FUSE], { graceMs: 50 });
    expect(users()).toEqual([]);
    expect(handle.isAlive()).toBe(true);
  });
});
