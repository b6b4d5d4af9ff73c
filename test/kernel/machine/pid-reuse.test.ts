import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ContainerHandle } from '../../../node-worker/kernel/engine.ts';
import { processStat } from '../../../node-worker/kernel/process.ts';
import { signalUser } from '../../../node-worker/kernel/signal-user.ts';
import { cleanUp, startContainer } from '../container.ts';
import { FUSE, until } from '../devices.ts';
import { engine } from '../engine.ts';
import { CGROUP_VERSIONS } from '../places.ts';

beforeAll(cleanUp);
afterAll(cleanUp);

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    child.on('exit', () => resolve());
  });

/** A process of the host with exactly this pid, unless another process has taken it and keeps it. */
async function processWithPid(pid: number): Promise<ChildProcess | undefined> {
  for (let attempt = 0; attempt < 20; attempt++) {
    writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
    const child = spawn('sleep', ['1000']);
    if (child.pid === pid) return child;
    child.kill('SIGKILL');
    await ended(child);
  }
  return undefined;
}

/** A container that had a device and has ended, and a process that has the pid of its init now. */
async function replacedContainer(cgroupVersion: 1 | 2) {
  for (let attempt = 0; attempt < 10; attempt++) {
    const container = await startContainer({ cgroupVersion });
    const handle = await engine.openContainer({ containerId: container.id });
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
    await container.stop();
    const stranger = await processWithPid(handle.pid);
    if (stranger !== undefined) return { id: container.id, handle, plan, stranger };
    handle.close();
  }
  throw new Error('ten pids were taken by others and kept');
}

describe.each(CGROUP_VERSIONS)('a pid that was used again, on cgroup v%i', (cgroupVersion) => {
  test('is no container, gets nothing and is not killed', async () => {
    const { id, handle, plan, stranger } = await replacedContainer(cgroupVersion);
    const { pid } = handle;
    try {
      expect(processStat(handle.pid).command).toBe('sleep');
      expect(handle.isAlive()).toBe(false);
      await expect(engine.openContainer({ containerId: id, pid })).rejects.toThrow('no cgroup of its process');
      await expect(engine.grant(handle, plan, [])).rejects.toMatchObject({ type: 'ContainerNotReady' });
      expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: [] });
      expect(await engine.usersOf(handle, [FUSE])).toEqual([]);
      expect(signalUser(id, pid, constants.signals.SIGKILL)).toEqual([]);
      expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
    } finally {
      stranger.kill('SIGKILL');
      await ended(stranger);
      handle.close();
    }
  });
});

/** Pids that a runtime could tell by mistake, or be made to tell. */
const WRONG: readonly (readonly [
  string,
  (handle: ContainerHandle, other: ContainerHandle) => number | Promise<number>,
])[] = [
  ["the host's init", () => 1],
  ['this process', () => process.pid],
  ["another container's init", (_, other) => other.pid],
  ['a thread that leads no process', () => threadOf(process.pid)],
  [
    'a process that has ended and that nobody has waited for',
    async () => {
      // The shell becomes a program that waits for nothing.
      const parent = spawn('sh', ['-c', 'sleep 0 & exec sleep 1000'], { stdio: 'ignore' });
      strangers.push(parent);
      return until(() => zombieOf(parent.pid ?? 0), Boolean);
    },
  ],
  ['a pid that nobody has', () => 4_194_303],
];
const strangers: ChildProcess[] = [];

const threadOf = (pid: number): number =>
  Number(readdirSync(`/proc/${pid}/task`).find((thread) => Number(thread) !== pid));

function zombieOf(parent: number): number {
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number);
  return children.find((pid) => processStat(pid).state === 'Z') ?? 0;
}

test.each(WRONG)('%s is not taken for a container', async (_, pidOf) => {
  const [container, other] = [await startContainer({ cgroupVersion: 2 }), await startContainer({ cgroupVersion: 2 })];
  const [handle, otherHandle] = [
    await engine.openContainer({ containerId: container.id }),
    await engine.openContainer({ containerId: other.id }),
  ];
  try {
    const pid = await pidOf(handle, otherHandle);
    await expect(engine.openContainer({ containerId: container.id, pid })).rejects.toThrow(
      expect.objectContaining({ type: 'ContainerNotReady' }),
    );
  } finally {
    handle.close();
    otherHandle.close();
    for (const stranger of strangers.splice(0)) {
      stranger.kill('SIGKILL');
      await ended(stranger);
    }
    await container.stop();
    await other.stop();
  }
});
