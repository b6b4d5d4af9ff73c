import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { membersOf } from '../../node-worker/kernel/cgroup-tree.ts';
import { processStat } from '../../node-worker/kernel/process.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { FUSE, until } from './devices.ts';
import { engine } from './engine.ts';
import { CGROUP_VERSIONS } from './places.ts';

beforeAll(cleanUp);
afterAll(cleanUp);

/** Of a process, from the host's pid namespace inwards. */
const pidsOf = (pid: number): readonly string[] =>
  /^NSpid:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]?.split('\t') ?? [];

describe.each(CGROUP_VERSIONS)('the init of a container on cgroup v%i', (cgroupVersion) => {
  let pod: TestContainer;
  let container: TestContainer;
  beforeEach(async () => {
    pod = await startContainer({ cgroupVersion });
    container = await startContainer({ cgroupVersion, capabilities: ['CAP_SYS_ADMIN'], pidNamespaceOf: pod.pid });
  });
  afterEach(async () => {
    await container.stop();
    await pod.stop();
  });

  async function found(query: { init?: { pid: number } } = {}): Promise<number> {
    const handle = await engine.openContainer({ containerId: container.id, ...query });
    handle.close();
    return handle.pid;
  }

  test('is not that of a pid namespace nested in it, when it shares the one of its pod', async () => {
    expect(pidsOf(container.pid)).toHaveLength(pidsOf(pod.pid).length);
    expect(pidsOf(container.pid).at(-1)).not.toBe('1');
    await container.run('unshare -p -f sleep 1000 &');
    const isNestedInit = (pid: number): boolean =>
      pidsOf(pid).length > pidsOf(pod.pid).length && pidsOf(pid).at(-1) === '1';
    await until(
      () => membersOf(container.cgroup).filter(isNestedInit),
      (inits) => inits.length === 1,
    );
    expect(await found()).toBe(container.pid);

    const handle = await engine.openContainer({ containerId: container.id });
    await engine.grant(handle, await engine.plan(handle, 'a', [FUSE], []), []);
    await container.run('exec 4<>/dev/fuse; sleep 1000 4>&- 5<>/dev/fuse &');
    const users = await until(
      () => engine.usersOf(handle, [FUSE]),
      (all) => all.some(({ containerInit }) => containerInit),
    );
    handle.close();
    expect(users.filter(({ containerInit }) => containerInit)).toMatchObject([{ command: 'sh', pid: container.pid }]);
  });

  test.each(['its own', 'that of its pod'])(
    'is not a process that a runtime puts beside it from the host, when its pid namespace is %s',
    async (which) => {
      const { cgroup, pid, id } = which === 'its own' ? pod : container;
      const stranger = spawn('sleep', ['1000']);
      try {
        writeFileSync(`${cgroup}/cgroup.procs`, String(stranger.pid));
        expect(membersOf(cgroup)).toContain(stranger.pid);
        const handle = await engine.openContainer({ containerId: id });
        handle.close();
        expect(handle.pid).toBe(pid);
      } finally {
        stranger.kill('SIGKILL');
      }
    },
  );

  test('is the process that was recorded while that lives in the container', async () => {
    await container.run('sleep 1000 &');
    const other = await until(
      () => membersOf(container.cgroup).find((pid) => pid !== container.pid && processStat(pid).command === 'sleep'),
      (pid) => pid !== undefined,
    );
    const pid = other ?? 0;
    expect(await found({ init: { pid } })).toBe(pid);
    expect(await found({ init: { pid: process.pid } })).toBe(container.pid);
    await container.run('kill -9 $!; wait');
    expect(await found({ init: { pid } })).toBe(container.pid);
  });
});
