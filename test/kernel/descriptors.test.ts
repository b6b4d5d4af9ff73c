import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ContainerHandle, Grant } from '../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { FUSE } from './devices.ts';
import { engine, KILL_LIMIT_MS } from './engine.ts';
import { CGROUP_VERSIONS } from './places.ts';

const ROUNDS = 15;
/** Opens the device, and from then on moves its descriptor between three numbers, all the time. */
const MOVE =
  "exec 3<>/dev/fuse; trap '' TERM; while :; do exec 4<&3; exec 3<&-; exec 5<&4; exec 4<&-; exec 3<&5; exec 5<&-; done";
let container: TestContainer;
let handle: ContainerHandle;
let plan: Grant;
beforeAll(cleanUp);
afterAll(cleanUp);

async function start(name: string): Promise<void> {
  await engine.grant(handle, plan, []);
  const script = `(${MOVE.replace(';', `; echo >/tmp/${name};`)}) >/dev/null 2>&1 & echo $!`;
  await container.run(`${script}; while ! test -e /tmp/${name}; do :; done`);
}

describe.each(CGROUP_VERSIONS)('a process that moves its descriptor all the time, on cgroup v%i', (cgroupVersion) => {
  beforeEach(async () => {
    container = await startContainer({ cgroupVersion });
    handle = await engine.openContainer({ containerId: container.id });
    plan = await engine.plan(handle, 'a', [FUSE], []);
  });
  afterEach(async () => {
    handle.close();
    await container.stop();
  });

  test('is seen by every look', async () => {
    await start('seen');
    for (let look = 0; look < 200; look++) expect(await engine.usersOf(handle, [FUSE])).not.toEqual([]);
  });

  test('does not survive a forced unmount', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await start(`forced-${round}`);
      await engine.revoke(handle, plan, []);
      await engine.killUsers(handle, [FUSE], { graceMs: 0, limitMs: KILL_LIMIT_MS });
      // An ended child that its parent has not waited for has no descriptors.
      expect(await container.run('ls /proc/$!/fd 2>/dev/null')).toBe('');
    }
  });
});
