import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { failureOf } from '../../contract/failures.ts';
import type { ContainerHandle, DeviceNode, Grant } from '../../node-worker/kernel/engine.ts';
import { type Canary, makeCanary } from './canary.ts';
import { clean } from './clean.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, policyOf } from './devices.ts';
import { engine, KILL_LIMIT_MS } from './engine.ts';
import { possible } from './places.ts';
import { rounds } from './rounds.ts';

let canary: Canary;
let untouched: readonly string[];
let container: TestContainer;
let handle: ContainerHandle;
beforeAll(cleanUp);
afterAll(cleanUp);
beforeEach(() => {
  canary = makeCanary();
  untouched = canary.look();
});
afterEach(() => canary.remove());

async function start(options: StartOptions): Promise<void> {
  container = await startContainer(options);
  handle = await engine.openContainer({ containerId: container.id, pid: container.pid });
}
async function stop(): Promise<void> {
  handle.close();
  await container.stop();
}

/** Undefined when it was granted, else why not. Anything but a clear refusal is a fault. */
async function grantOrRefusal(device: DeviceNode): Promise<{ plan?: Grant; refusal?: string }> {
  let plan: Grant | undefined;
  try {
    plan = await engine.plan(handle, 'a', [device], []);
    await engine.grant(handle, plan, []);
    return { plan };
  } catch (err) {
    expect(failureOf(err)?.type).toBe('ContainerUnsupported');
    return { ...(plan && { plan }), refusal: String(err) };
  }
}

/** What a tenant can prepare before a mount; `HOST` stands for the canary's path, which means nothing inside. */
const BEFORE: readonly (readonly [string, string, DeviceNode, 'refused' | 'granted'])[] = [
  ['a directory that is an absolute symlink to the host', 'ln -s HOST /dev/dri', CARD, 'refused'],
  ['a directory that climbs out', 'ln -s ../../../../../../..HOST /dev/dri', CARD, 'refused'],
  ["a directory through init's root", 'ln -s /proc/1/rootHOST /dev/dri', CARD, 'refused'],
  ["a directory through a process's cwd", 'ln -s /proc/self/cwd /dev/dri', CARD, 'refused'],
  ["a directory through a process's descriptor", 'ln -s /proc/self/fd/0 /dev/dri', CARD, 'refused'],
  ['a directory that is a symlink to a good one', 'mkdir /dev/real; ln -s real /dev/dri', CARD, 'refused'],
  ['a name that is a symlink to a file of the host', 'ln -s HOST/file /dev/fuse', FUSE, 'refused'],
  ['a name that is a symlink to a node of the host', 'ln -s HOST/fuse /dev/fuse', FUSE, 'refused'],
  ['a name that is a dangling symlink', 'ln -s HOST/new /dev/fuse', FUSE, 'refused'],
  ['a temporary name that is a symlink', 'ln -s HOST/new /dev/.fuse.devmnt', FUSE, 'refused'],
  ['a temporary name that is a directory', 'mkdir /dev/.fuse.devmnt', FUSE, 'refused'],
  ['a temporary name that is another device', 'mknod /dev/.fuse.devmnt c 1 3', FUSE, 'refused'],
  ['a temporary name that is the device', 'mknod /dev/.fuse.devmnt c 10 229', FUSE, 'granted'],
  ['a name that is a file', 'echo mine >/dev/fuse', FUSE, 'refused'],
  ['a name that is a directory', 'mkdir /dev/fuse', FUSE, 'refused'],
  ['a name that is a pipe', 'mkfifo /dev/fuse', FUSE, 'refused'],
  ['a name that is another device', 'mknod /dev/fuse c 1 3', FUSE, 'refused'],
  ['a directory that is a file', 'echo mine >/dev/dri', CARD, 'refused'],
  ['a directory that is a loop of symlinks', 'ln -s dri /dev/dri', CARD, 'refused'],
];

/** What a tenant can do between mount and unmount. The access must be gone, and nothing of the host's. */
const BETWEEN: readonly (readonly [string, string, DeviceNode])[] = [
  ['a symlink to a node of the host in place of the node', 'rm /dev/fuse; ln -s HOST/fuse /dev/fuse', FUSE],
  ['a symlink to the host in place of the directory', 'rm -r /dev/dri; ln -s HOST /dev/dri', CARD],
  ['a hard link to the node', 'ln /dev/fuse /dev/kept', FUSE],
  ['a twin of the node', 'mknod /dev/kept c 10 229', FUSE],
  ['a file in place of the node', 'rm /dev/fuse; echo mine >/dev/fuse', FUSE],
  ['a full directory in place of the node', 'rm /dev/fuse; mkdir /dev/fuse; touch /dev/fuse/x', FUSE],
  ['a file in place of the directory', 'rm -r /dev/dri; echo mine >/dev/dri', CARD],
  ['something else in our directory', 'touch /dev/dri/mine', CARD],
  ['no node any more', 'rm /dev/fuse', FUSE],
  ['no directory any more', 'rm -r /dev/dri', CARD],
];

describe.each(
  possible([
    ['on cgroup v1', { cgroupVersion: 1 }],
    ['on cgroup v2', { cgroupVersion: 2 }],
    ['with a user namespace', { cgroupVersion: 2, userNamespaceBase: 1_000_000 }],
  ] as const),
)('an attack from inside a container %s', (_, options) => {
  const userNamespace = 'userNamespaceBase' in options;
  beforeAll(() => start(options));
  afterAll(stop);
  afterEach(async () => {
    if (await clean(container, ['/dev/dri', '/dev/real', '/dev/fuse', '/dev/.fuse.devmnt', '/dev/kept'])) return;
    await stop();
    await start(options);
  });

  test.each(BEFORE)('by %s reaches nothing', async (_, line, device, outcome) => {
    const policy = policyOf(container);
    await container.run(line.replaceAll('HOST', canary.path));
    const { plan, refusal } = await grantOrRefusal(device);
    // There the container cannot make nodes, and we use no temporary name.
    if (!userNamespace || !/mknod|devmnt/.test(line))
      expect(refusal === undefined ? 'granted' : 'refused').toBe(outcome);
    if (plan !== undefined) await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual(policy);
    expect(canary.look()).toEqual(untouched);
  });

  test.each(BETWEEN)('by %s keeps nothing', async (_, line, device) => {
    const policy = policyOf(container);
    const plan = await engine.plan(handle, 'a', [device], []);
    await engine.grant(handle, plan, []);
    await container.run(line.replaceAll('HOST', canary.path));
    await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual(policy);
    expect(engine.accessTo(handle, device)).not.toMatch(/[rw]/);
    expect(await container.run('true </dev/kept && echo opened')).not.toContain('opened');
    expect(canary.look()).toEqual(untouched);
  });

  test('by swapping the directory with a symlink all the time reaches nothing', async () => {
    const policy = policyOf(container);
    await container.run(
      `mkdir -p /dev/real; (while :; do ln -s ${canary.path} /dev/dri; rm /dev/dri; mv /dev/real /dev/dri; mv /dev/dri /dev/real; done) >/dev/null 2>&1 & echo $! >/tmp/swapper`,
    );
    for (const _ of rounds()) {
      const { plan } = await grantOrRefusal(CARD);
      if (plan !== undefined) await engine.revoke(handle, plan, []);
    }
    await container.run('kill -9 $(cat /tmp/swapper)');
    expect(policyOf(container)).toEqual(policy);
    expect(canary.look()).toEqual(untouched);
  });

  test('by taking the temporary name away all the time reaches nothing', async () => {
    await container.run(
      `(while :; do mv /dev/.fuse.devmnt /dev/kept; ln -s ${canary.path}/file /dev/.fuse.devmnt; rm -f /dev/.fuse.devmnt; test -L /dev/fuse && rm /dev/fuse; done) >/dev/null 2>&1 & echo $! >/tmp/swapper`,
    );
    for (const _ of rounds()) {
      const { plan } = await grantOrRefusal(FUSE);
      if (plan !== undefined) await engine.revoke(handle, plan, []);
    }
    await container.run('kill -9 $(cat /tmp/swapper)');
    expect(engine.accessTo(handle, FUSE)).not.toMatch(/[rw]/);
    expect(canary.look()).toEqual(untouched);
  });
});

describe('a /dev that is not a mount', () => {
  beforeEach(() => start({ cgroupVersion: 2, devMount: false }));
  afterEach(stop);

  test.each([
    ['as it is', 'true'],
    ['replaced by a symlink to the host', 'mv /dev /old; ln -s HOST /dev'],
    ['replaced by a symlink that climbs out', 'mv /dev /old; ln -s ../../../../..HOST /dev'],
    ["replaced by a symlink through init's root", 'mv /dev /old; ln -s /proc/1/rootHOST /dev'],
    ['missing', 'mv /dev /old'],
    ['a file', 'mv /dev /old; touch /dev'],
  ])('is never written: %s', async (_, line) => {
    await container.run(line.replaceAll('HOST', canary.path));
    handle.close();
    handle = await engine.openContainer({ containerId: container.id });
    expect((await grantOrRefusal(FUSE)).refusal).toMatch(/Cannot make device node/);
    expect(canary.look()).toEqual(untouched);
  });
});

test('hostile programs of the image are never run', async () => {
  const names = ['sh', 'mknod', 'rm', 'kill', 'stat', 'chmod', 'nsenter', 'bpftool'];
  const prepare = (rootfs: string): void => {
    for (const name of names) {
      rmSync(join(rootfs, 'bin', name), { force: true });
      writeFileSync(join(rootfs, 'bin', name), `#!/bin/busybox sh\necho ${name} $$ >>/tmp/run\nexit 0\n`, {
        mode: 0o755,
      });
    }
  };
  await start({ cgroupVersion: 2, prepare, args: ['/bin/busybox', 'sh'] });
  const plan = await engine.plan(handle, 'a', [FUSE], []);
  await engine.grant(handle, plan, []);
  await container.run('sleep 1000 3<>/dev/fuse &');
  await engine.killUsers(handle, [FUSE], { graceMs: 100, limitMs: KILL_LIMIT_MS });
  engine.inspect(handle);
  await engine.devicesOf(handle);
  await engine.revoke(handle, plan, []);
  expect(() => readFileSync(join(container.rootfs, 'tmp/run'))).toThrow('ENOENT');
  await stop();
});

test('an init with another root directory and mount namespace gets nothing of the host', async () => {
  const script = `mkdir -p /evil/bin; cp -a /bin/. /evil/bin; ln -s ${canary.path} /evil/dev; exec unshare -m chroot /evil /bin/sh`;
  await start({
    cgroupVersion: 2,
    capabilities: ['CAP_SYS_CHROOT', 'CAP_SYS_ADMIN'],
    args: ['/bin/sh', '-c', script],
  });
  expect((await grantOrRefusal(FUSE)).refusal).toMatch(/Cannot make device node/);
  expect(canary.look()).toEqual(untouched);
  await stop();
});
