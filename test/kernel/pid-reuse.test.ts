import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import { processStat } from '../../node-worker/kernel/process.ts';
import { signalUser } from '../../node-worker/kernel/signal-user.ts';
import { cleanUp, startContainer } from './container.ts';
import { FUSE } from './devices.ts';

const engine = createEngine();
beforeAll(cleanUp);
afterAll(cleanUp);

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    child.on('exit', () => resolve());
  });

/** A process of the host with exactly this pid; others may take it first, so it is tried until it works. */
async function processWithPid(pid: number): Promise<ChildProcess> {
  for (let attempt = 0; attempt < 100; attempt++) {
    writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
    const child = spawn('sleep', ['1000']);
    if (child.pid === pid) return child;
    child.kill('SIGKILL');
    await ended(child);
  }
  throw new Error(`the pid ${pid} was always taken by others`);
}

describe.each([1, 2] as const)('a pid that was used again, on cgroup v%i', (cgroupVersion) => {
  test('is no container, gets nothing and is not killed', async () => {
    const container = await startContainer({ cgroupVersion });
    const handle = engine.openContainer({ containerId: container.id });
    const plan = engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
    const user = { pid: handle.pid, startTime: handle.startTime };
    await container.stop();
    const stranger = await processWithPid(handle.pid);
    try {
      expect(processStat(handle.pid).command).toBe('sleep');
      expect(handle.isAlive()).toBe(false);
      expect(() => engine.openContainer({ containerId: container.id, pid: user.pid })).toThrow(
        'no cgroup of its process',
      );
      await expect(engine.grant(handle, plan, [])).rejects.toMatchObject({ type: 'ContainerNotReady' });
      expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: [] });
      expect(engine.usersOf(handle, [FUSE])).toEqual([]);
      expect(signalUser(user, constants.signals.SIGKILL)).toEqual([]);
      expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
    } finally {
      stranger.kill('SIGKILL');
      await ended(stranger);
      handle.close();
    }
  });
});
