import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { failureOf } from '../../contract/failures.ts';
import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import type { ContainerHandle, DeviceNode, Grant } from '../../node-worker/kernel/engine.ts';
import { buildProgram } from './c-program.ts';
import { type Canary, makeCanary } from './canary.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, policyOf, until } from './devices.ts';
import { engine, givenUp, KILL_LIMIT_MS } from './engine.ts';
import { LOCKED_DIRECTORY, NEVER_ANSWERS, SLOW_EXEC } from './slow-programs.ts';

/** For what is to be given up: with the product's own limits, of seconds. */
const impatient = createEngine();
let canary: Canary;
let untouched: readonly string[];
let container: TestContainer;
let handle: ContainerHandle;
beforeAll(cleanUp);
afterAll(cleanUp);
beforeEach(() => {
  givenUp.length = 0;
  canary = makeCanary();
  untouched = canary.look();
});
afterEach(async () => {
  handle.close();
  await container.stop();
  // No look has waited for the file system.
  expect(givenUp).toEqual([]);
  expect(canary.look()).toEqual(untouched);
  canary.remove();
});

async function start(options: Omit<StartOptions, 'cgroupVersion'> = {}): Promise<void> {
  container = await startContainer({
    cgroupVersion: 2,
    capabilities: ['CAP_SYS_ADMIN'],
    devices: [{ ...FUSE, path: '/tmp/fuse', access: 'rwm' }],
    prepare: (rootfs) => {
      buildProgram(NEVER_ANSWERS, join(rootfs, 'bin/never-answers'));
      buildProgram(SLOW_EXEC, join(rootfs, 'bin/slow-exec'));
      buildProgram(LOCKED_DIRECTORY, join(rootfs, 'bin/locked-directory'));
      // Also for the root of a user namespace.
      chmodSync(join(rootfs, 'tmp'), 0o777);
    },
    ...options,
  });
  handle = await engine.openContainer({ containerId: container.id });
}

/** Runs a program in the background until it has said what it is to say. */
async function begin(program: string, word: string): Promise<void> {
  const said = await container.run(
    `rm -f /tmp/up; mkfifo /tmp/up; ${program} >/tmp/up 2>&1 & read said </tmp/up; echo $said`,
  );
  expect(said).toBe(`${word}\n`);
}

const mountSlow = (path: string, rootMode = '40000'): Promise<void> => begin(`never-answers ${path} ${rootMode}`, 'up');

/** A clear refusal, and nothing else. */
async function expectRefused(device: DeviceNode, planned?: Grant): Promise<void> {
  const opened = await engine.openContainer({ containerId: container.id });
  try {
    const granted = async () => engine.grant(opened, planned ?? (await engine.plan(opened, 'a', [device], [])), []);
    expect(await typeOf(granted())).toBe('ContainerUnsupported');
  } finally {
    opened.close();
  }
}

describe('a file system that never answers', () => {
  test.each([
    ['over /dev', '/dev', '40000', FUSE],
    ['over a directory in /dev', '/dev/dri', '40000', CARD],
    ['over a directory deep in /dev', '/dev/dri/by', '40000', { ...CARD, path: '/dev/dri/by/path/card0' }],
    ['over a file with the name of the node', '/dev/dri/card0', '100000', CARD],
    ['over a device with the name of the node', '/dev/dri/card0', '20000', CARD],
  ] as const)('%s is refused, not waited for', async (_, path, rootMode, device) => {
    await start();
    const policy = policyOf(container);
    const plan = await engine.plan(handle, 'a', [device], []);
    await container.run('mkdir -p /dev/dri/by; touch /dev/dri/card0');
    await mountSlow(path, rootMode);
    await expectRefused(device);
    await expectRefused(device, plan);
    expect(policyOf(container)).toEqual(policy);
  });

  test('that comes over /dev after the mount keeps nothing from being taken back', async () => {
    await start();
    const policy = policyOf(container);
    const plan = await engine.plan(handle, 'a', [CARD], []);
    await engine.grant(handle, plan, []);
    await mountSlow('/dev');
    expect(await engine.drifted(handle, [plan])).toBe(true);
    expect(await engine.devicesOf(handle)).toEqual([]);
    engine.inspect(handle);
    await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual(policy);
  });

  test('that a process holds open does not keep its users from being found and ended', async () => {
    await start();
    await container.run('mkdir -p /tmp/slow; sleep 1000 3<>/tmp/fuse &');
    await mountSlow('/tmp/slow');
    const users = await until(
      () => engine.usersOf(handle, [FUSE]),
      (found) => found.length === 2,
    );
    expect(users.map(({ via }) => via)).toEqual(['fd', 'fd']);
    await engine.killUsers(handle, [FUSE], { graceMs: 500, limitMs: KILL_LIMIT_MS });
    expect(await engine.usersOf(handle, [FUSE])).toEqual([]);
  });

  test('of a user namespace, which may not even be asked by us, is refused', async () => {
    await start({ userNamespaceBase: 1_000_000, devices: [] });
    await container.run('mkdir -p /dev/dri');
    await engine.grant(handle, await engine.plan(handle, 'fuse', [FUSE], []), []);
    await mountSlow('/dev/dri');
    await expectRefused(CARD);
  });

  test('is refused also where it has the number of a mount that was looked at before', async () => {
    await start();
    await container.run('mkdir -p /dev/dri');
    const id = (): Promise<string> => container.run("grep ' /dev/dri ' /proc/self/mountinfo | cut -d ' ' -f 1");
    let [plan, before] = [await engine.plan(handle, 'a', [CARD], []), ''];
    for (let attempt = 0; attempt < 50; attempt++) {
      await container.run('mount -t tmpfs none /dev/dri');
      before = await id();
      // By each helper process.
      for (let look = 0; look < 4; look++) plan = await engine.plan(handle, 'a', [CARD], []);
      await container.run('umount /dev/dri');
      await mountSlow('/dev/dri');
      if ((await id()) === before) break;
      await container.run('umount -l /dev/dri; kill $!');
    }
    expect(await id()).toBe(before);
    await expectRefused(CARD);
    await expectRefused(CARD, plan);
  });

  test('that keeps an exec waiting is given up, and keeps nobody else waiting', async () => {
    await start();
    await container.run('mkdir /tmp/slow');
    await begin('slow-exec /tmp/slow', 'slow');
    const other = await startContainer({ cgroupVersion: 2 });
    const look = waiting(engine.usersOf(handle, [FUSE]));
    await expectServed(other);
    expect(look.done).toBe(false);
    await other.stop();
    const found = engine.openContainer({ containerId: container.id });
    expect(await typeOf(impatient.openContainer({ containerId: container.id }))).toBe('ContainerStuck');
    const opened = await impatient.openContainer({ containerId: container.id, pid: container.pid });
    expect(await typeOf(impatient.usersOf(opened, [FUSE]))).toBe('ContainerStuck');
    expect(look.done).toBe(false);
    await container.run('kill -9 $!');
    await look.promise;
    (await found).close();
    await until(
      () => typeOf(impatient.usersOf(opened, [FUSE])),
      (type) => type === undefined,
    );
    opened.close();
  });

  test('that keeps an exec waiting hides no user of a device: the container ends', async () => {
    await start();
    await container.run('mkdir /tmp/slow; sleep 1000 3<>/tmp/fuse &');
    await begin('slow-exec /tmp/slow', 'slow');
    const opened = await impatient.openContainer({ containerId: container.id, pid: container.pid });
    const ended = await impatient.killUsers(opened, [FUSE], { graceMs: 0 });
    opened.close();
    expect(ended.filter(({ containerInit }) => containerInit)).toMatchObject([{ via: 'unknown' }]);
    await until(
      () => handle.isAlive(),
      (alive) => !alive,
    );
    expect(await engine.usersOf(handle, [FUSE])).toEqual([]);
  });
});

test('a directory that a process keeps locked for ever keeps no rule, and nobody else waiting', async () => {
  await start({ capabilities: ['CAP_SYS_PTRACE'], devices: [] });
  const policy = policyOf(container);
  const plan = await engine.plan(handle, 'a', [CARD], []);
  await engine.grant(handle, plan, []);
  await begin('locked-directory /dev/dri', 'slow');
  const other = await startContainer({ cgroupVersion: 2 });
  const opened = await impatient.openContainer({ containerId: container.id, pid: container.pid });
  const revoked = waiting(engine.revoke(handle, plan, []));
  expect(policyOf(container)).toEqual(policy);
  await expectServed(other);
  expect(revoked.done).toBe(false);
  await other.stop();
  expect(await impatient.revoke(opened, plan, [])).toMatchObject({ nodesRemoved: [] });
  expect(await typeOf(impatient.grant(opened, plan, []))).toBe('ContainerStuck');
  expect([policyOf(container), revoked.done]).toEqual([policy, false]);
  await container.run('kill -9 $!');
  await revoked.promise;
  expect(await container.run('ls /dev/dri')).not.toContain('card0');
  await until(
    () => typeOf(impatient.grant(opened, plan, [])),
    (type) => type === undefined,
  );
  expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: ['/dev/dri/card0'] });
  opened.close();
});

/** What has not been answered yet. */
function waiting<T>(promise: Promise<T>): { readonly promise: Promise<T>; done: boolean } {
  const state = { promise, done: false };
  const end = (): void => {
    state.done = true;
  };
  promise.then(end, end);
  return state;
}

async function typeOf(answer: Promise<unknown>): Promise<string | undefined> {
  return answer.then(
    () => undefined,
    (err: unknown) => failureOf(err)?.type ?? String(err),
  );
}

/** Everything that is asked of a container's files and processes. */
async function expectServed({ id }: TestContainer): Promise<void> {
  const opened = await engine.openContainer({ containerId: id });
  const plan = await engine.plan(opened, 'other', [CARD], []);
  await engine.grant(opened, plan, []);
  expect(await engine.drifted(opened, [plan])).toBe(false);
  expect(await engine.devicesOf(opened)).toMatchObject([{ path: CARD.path }]);
  expect(await engine.usersOf(opened, [FUSE])).toEqual([]);
  expect(await engine.revoke(opened, plan, [])).toMatchObject({ nodesRemoved: [CARD.path] });
  opened.close();
}
