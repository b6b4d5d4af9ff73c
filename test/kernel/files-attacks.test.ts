import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { failureOf } from '../../contract/failures.ts';
import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import type { ContainerHandle, Grant, HostFile } from '../../node-worker/kernel/engine.ts';
import { buildProgram } from './c-program.ts';
import { type Canary, makeCanary } from './canary.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { FUSE } from './devices.ts';
import { addVendorFiles, buildLibcuda, ownedBy, VERSION } from './injected.ts';
import { possible, WORK } from './places.ts';
import { rounds } from './rounds.ts';
import { NEVER_ANSWERS } from './slow-programs.ts';

const engine = createEngine();
let host: string;
const files = (): Readonly<Record<'tool' | 'data' | 'lib' | 'firmware', HostFile>> => ({
  tool: { hostPath: join(host, 'opt/vendor/tool'), path: '/opt/vendor/bin/tool' },
  data: { hostPath: join(host, 'opt/vendor/data'), path: '/opt/vendor/data' },
  lib: { hostPath: join(host, `usr/lib64/libcuda.so.${VERSION}`), path: `/usr/lib/libcuda.so.${VERSION}` },
  firmware: { hostPath: join(host, 'opt/vendor/tool'), path: '/lib/firmware/tool' },
});
beforeAll(() => {
  cleanUp();
  mkdirSync(WORK, { recursive: true });
  host = mkdtempSync(join(WORK, 'host-'));
  addVendorFiles(host);
  buildLibcuda(join(host, 'usr/lib64'));
});
afterAll(cleanUp);

let canary: Canary;
let untouched: readonly string[];
let container: TestContainer;
let handle: ContainerHandle;
beforeEach(() => {
  canary = makeCanary();
  untouched = canary.look();
});
afterEach(() => {
  expect(canary.look()).toEqual(untouched);
  canary.remove();
});

async function start(options: StartOptions): Promise<void> {
  container = await startContainer({
    ...options,
    prepare(rootfs) {
      options.prepare?.(rootfs);
      if (options.userNamespaceBase !== undefined) ownedBy(options.userNamespaceBase, rootfs);
    },
  });
  handle = engine.openContainer({ containerId: container.id, pid: container.pid });
}
async function stop(): Promise<void> {
  handle.close();
  await container.stop();
}

/** Why it is not given: already the plan says so, or else no mount would be made without its files. */
async function refusalOf(file: HostFile): Promise<string> {
  const { grant, refusal = 'given' } = await giveOrRefusal(file);
  expect(grant).toBeUndefined();
  return refusal;
}

/** `refusal` is undefined when it was given, else says why not. Anything but a clear refusal is a fault. */
async function giveOrRefusal(file: HostFile): Promise<{ grant?: Grant; refusal?: string }> {
  let grant: Grant | undefined;
  try {
    const plan = await engine.plan(handle, 'a', [], []);
    grant = { ...plan, files: (await engine.planFiles(handle, [file], [])).files };
    await engine.grant(handle, grant, []);
    return { grant };
  } catch (err) {
    expect(failureOf(err)).toMatchObject({ type: 'ContainerUnsupported' });
    return { ...(grant && { grant }), refusal: String(err) };
  }
}

const LINK = /a part of the path is a link or no folder/;
const OTHER = /it has another file there/;
const MOUNTED = /something is mounted there/;

/** What a tenant can prepare; `HOST` stands for the canary's path, which means nothing inside. */
const BEFORE: readonly (readonly [string, string, keyof ReturnType<typeof files>, RegExp])[] = [
  ['a folder that is a link to the host', 'ln -s HOST /opt', 'tool', LINK],
  ['a folder that climbs out', 'ln -s ../../../../../../..HOST /opt', 'tool', LINK],
  ["a folder through init's root", 'ln -s /proc/1/rootHOST /opt', 'tool', LINK],
  ["a folder through a process's cwd", 'ln -s /proc/self/cwd /opt', 'tool', LINK],
  ["a folder through a process's descriptor", 'ln -s /proc/self/fd/0 /opt', 'tool', LINK],
  ['a folder that is a link to a good one', 'mkdir /real; ln -s real /opt', 'tool', LINK],
  ['a folder that is a loop', 'ln -s opt /opt', 'tool', LINK],
  ['a folder that is a file', 'echo mine >/opt', 'tool', LINK],
  ['a second folder that is a link', 'mkdir /opt; ln -s HOST /opt/vendor', 'tool', LINK],
  ['a third folder that is a link', 'mkdir -p /opt/vendor; ln -s HOST /opt/vendor/bin', 'tool', LINK],
  [
    'a name that is a link to a file of the host',
    'mkdir -p /opt/vendor/bin; ln -s HOST/file /opt/vendor/bin/tool',
    'tool',
    OTHER,
  ],
  ['a name that is a dangling link', 'mkdir -p /opt/vendor/bin; ln -s HOST/new /opt/vendor/bin/tool', 'tool', OTHER],
  ['a name that is a file', 'mkdir -p /opt/vendor/bin; echo mine >/opt/vendor/bin/tool', 'tool', OTHER],
  ['a name that is a folder', 'mkdir -p /opt/vendor/bin/tool', 'tool', OTHER],
  ['a name that is a pipe', 'mkdir -p /opt/vendor/bin; mkfifo /opt/vendor/bin/tool', 'tool', OTHER],
  ['a folder that is there', 'mkdir -p /opt/vendor/data', 'data', OTHER],
  [
    'a folder that is a link to a folder of the host',
    'mkdir -p /opt/vendor; ln -s HOST/empty /opt/vendor/data',
    'data',
    OTHER,
  ],
  ['a folder of libraries that is a link', 'mkdir /usr; ln -s HOST /usr/lib', 'lib', LINK],
  ['a usual link that leads elsewhere', 'ln -s HOST /lib', 'firmware', LINK],
  ['a usual link that climbs', 'ln -s ../../..HOST/usr/lib /lib', 'firmware', LINK],
  [
    'a file of no permission with content',
    'mkdir -p /opt/vendor/bin; echo mine >/opt/vendor/bin/tool; chmod 0 /opt/vendor/bin/tool',
    'tool',
    OTHER,
  ],
];

/** What a tenant can do between mount and unmount. */
const BETWEEN: readonly (readonly [string, string])[] = [
  ['the folder moved away', 'mv /opt/vendor /opt/moved'],
  ['the folder moved away for a link to the host', 'mv /opt/vendor /opt/moved; ln -s HOST /opt/vendor'],
  ['the first folder moved away for a link to the host', 'mv /opt /moved; ln -s HOST /opt'],
  [
    'another file in place of it',
    'mv /opt/vendor /opt/moved; mkdir -p /opt/vendor/bin; echo mine >/opt/vendor/bin/tool',
  ],
  [
    'a link to the host in place of it',
    'mv /opt/vendor /opt/moved; mkdir -p /opt/vendor/bin; ln -s HOST/file /opt/vendor/bin/tool',
  ],
  ['more files beside it', 'touch /opt/vendor/bin/mine'],
];

const PLACES = possible([
  ['on cgroup v1', { cgroupVersion: 1 }],
  ['on cgroup v2', { cgroupVersion: 2 }],
  ['with a user namespace', { cgroupVersion: 2, userNamespaceBase: 1_000_000 }],
] as const);

describe.each(PLACES)('an attack on files from inside a container %s', (_, options) => {
  beforeAll(() => start(options));
  afterAll(stop);
  afterEach(() => container.run('rm -rf /opt /moved /real /usr /lib'));

  test.each(BEFORE)('by %s reaches nothing', async (_name, line, which, why) => {
    await container.run(line.replaceAll('HOST', canary.path));
    const before = await container.run('ls -lR /opt /usr /lib /real');
    expect(await refusalOf(files()[which])).toMatch(why);
    expect(await container.run('ls -lR /opt /usr /lib /real')).toBe(before);
    expect(canary.look()).toEqual(untouched);
  });

  test.each(BETWEEN)('by %s, after the mount, reaches nothing', async (_name, line) => {
    const { grant } = await giveOrRefusal(files().tool);
    await container.run(line.replaceAll('HOST', canary.path));
    if (grant === undefined) throw new Error('it was not given');
    await engine.revoke(handle, grant, []);
    expect(canary.look()).toEqual(untouched);
    expect(await container.run('cat /opt/vendor/bin/tool')).not.toContain('echo tool');
    const left = (await container.run('cat /proc/self/mountinfo')).match(/\S*moved\S*/g) ?? [];
    for (const path of left) execFileSync('nsenter', ['-t', String(container.pid), '-m', 'umount', path]);
  });

  test.each([
    ['the folder with a link to the host', 'mkdir -p /opt/vendor/bin; mkdir /spare', '/opt/vendor', '/spare'],
    ['the first folder with a link to the host', 'mkdir -p /opt/vendor/bin; mkdir /spare', '/opt', '/spare'],
  ])('by swapping %s all the time reaches nothing', async (_name, prepare, folder, spare) => {
    await container.run(
      `${prepare}; (while :; do mv ${folder} ${spare}/kept; ln -s ${canary.path} ${folder}; rm ${folder}; mv ${spare}/kept ${folder}; done) >/dev/null 2>&1 & echo $! >/tmp/swapper`,
    );
    for (const _round of rounds()) {
      const { grant } = await giveOrRefusal(files().tool);
      if (grant !== undefined) await engine.revoke(handle, grant, []);
    }
    await container.run(`kill -9 $(cat /tmp/swapper); rm -f ${folder}; mv ${spare}/kept ${folder}; rm -rf /spare`);
    expect(canary.look()).toEqual(untouched);
    for (const path of (await container.run('cat /proc/self/mountinfo')).match(/ \/\S*bin\/tool /g) ?? [])
      execFileSync('nsenter', ['-t', String(container.pid), '-m', 'umount', path.trim()]);
  });

  test('by taking the mount point away all the time reaches nothing', async () => {
    await container.run(
      `mkdir -p /opt/vendor/bin /real; (while :; do mv /opt/vendor/bin/tool /real/tool; ln -s ${canary.path}/file /opt/vendor/bin/tool; rm -f /opt/vendor/bin/tool /real/tool; done) >/dev/null 2>&1 & echo $! >/tmp/swapper`,
    );
    for (const _round of rounds()) {
      const { grant } = await giveOrRefusal(files().tool);
      if (grant !== undefined) await engine.revoke(handle, grant, []);
    }
    await container.run('kill -9 $(cat /tmp/swapper)');
    expect(canary.look()).toEqual(untouched);
    expect(await container.run('cat /proc/self/mountinfo')).not.toMatch(/\/tool /);
  });
});

const bind = (source: string, destination: string): NonNullable<StartOptions['mounts']>[number] => ({
  destination,
  type: 'bind',
  source,
  options: ['rbind'],
});

describe.each(PLACES)('a container %s', (_, place) => {
  afterEach(stop);

  test.each([
    ['above the path', '/opt/vendor', 'tool', MOUNTED],
    ['first on the path', '/opt', 'tool', MOUNTED],
    ['at the folder', '/opt/vendor/data', 'data', OTHER],
    ['below the path', '/opt/vendor/data/below', 'data', OTHER],
  ] as const)('with a volume %s gets nothing', async (_name, destination, which, why) => {
    await start({ ...place, mounts: [bind(canary.path, destination)] });
    expect(await refusalOf(files()[which])).toMatch(why);
  });

  test('with a volume that is a file at the path gets nothing', async () => {
    await start({ ...place, mounts: [bind(join(canary.path, 'file'), '/opt/vendor/bin/tool')] });
    expect(await refusalOf(files().tool)).toMatch(OTHER);
  });

  test('with a read-only root gets nothing', async () => {
    await start({ ...place, readOnlyRoot: true });
    expect(await refusalOf(files().tool)).toMatch(/its root file system is read-only/);
  });

  test('whose root is shared with others gets nothing', async () => {
    await start(place);
    execFileSync('nsenter', ['-t', String(container.pid), '-m', 'mount', '--make-shared', '/']);
    expect(await refusalOf(files().tool)).toMatch(/its root is a shared mount/);
  });
});

describe.each(PLACES)('a container of many rights %s', (_, place) => {
  afterEach(stop);

  test('whose init has made a volume its root gets nothing in it', async () => {
    const script = `mkdir -p /volume/bin; cp -a /bin/. /volume/bin; exec chroot /volume /bin/sh`;
    const volume = mkdtempSync(join(WORK, 'volume-'));
    ownedBy('userNamespaceBase' in place ? place.userNamespaceBase : 0, volume);
    await start({
      ...place,
      capabilities: ['CAP_SYS_CHROOT'],
      mounts: [bind(volume, '/volume')],
      args: ['/bin/sh', '-c', script],
    });
    expect(await refusalOf(files().tool)).toMatch(/has changed its root directory/);
  });

  test('is no place for files on what it mounts itself', async () => {
    await start({ ...place, capabilities: ['CAP_SYS_ADMIN'] });
    await container.run('mkdir -p /opt/vendor/bin; mount -t tmpfs none /opt/vendor');
    expect(await refusalOf(files().tool)).toMatch(MOUNTED);
  });
});

test('a file system that never answers is not asked', async () => {
  await start({
    cgroupVersion: 2,
    capabilities: ['CAP_SYS_ADMIN'],
    devices: [{ ...FUSE, path: '/tmp/fuse', access: 'rwm' }],
    prepare: (rootfs) => buildProgram(NEVER_ANSWERS, join(rootfs, 'bin/never-answers')),
  });
  await container.run('mkdir -p /opt/vendor/bin; touch /opt/vendor/bin/tool');
  await container.run('never-answers /opt/vendor 40000 >/tmp/up & until test -s /tmp/up; do :; done');
  expect(await refusalOf(files().tool)).toMatch(MOUNTED);
  await container.run('kill %1; wait; umount /opt/vendor');
  await container.run('never-answers /opt/vendor/bin/tool 100000 >/tmp/up & until grep -q up /tmp/up; do :; done');
  expect(await refusalOf(files().tool)).toMatch(OTHER);
  await stop();
});
