import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { failureOf } from '../../contract/failures.ts';
import type { ContainerHandle, Grant, HostFile } from '../../node-worker/kernel/engine.ts';
import { buildProgram } from './c-program.ts';
import { type Canary, makeCanary } from './canary.ts';
import { clean } from './clean.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { FUSE } from './devices.ts';
import { engine } from './engine.ts';
import { AT_LINK, BEFORE, BETWEEN, MOUNTED, OTHER } from './hostile-layouts.ts';
import { addVendorFiles, buildLibcuda, ownedBy, VERSION } from './injected.ts';
import { possible, WORK } from './places.ts';
import { rounds } from './rounds.ts';
import { NEVER_ANSWERS } from './slow-programs.ts';

let host: string;
const files = (): Readonly<Record<'tool' | 'data' | 'lib' | 'firmware' | 'region', HostFile>> => ({
  tool: { hostPath: join(host, 'opt/vendor/tool'), path: '/opt/vendor/bin/tool' },
  data: { hostPath: join(host, 'opt/vendor/data'), path: '/opt/vendor/data' },
  lib: { hostPath: join(host, `usr/lib64/libcuda.so.${VERSION}`), path: `/usr/lib/libcuda.so.${VERSION}` },
  firmware: { hostPath: join(host, 'opt/vendor/tool'), path: '/lib/firmware/tool' },
  region: { hostPath: join(host, 'opt/vendor/data/file'), path: '/tmp/region/cache', writable: true },
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
  handle = await engine.openContainer({ containerId: container.id, pid: container.pid });
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

async function given(file: HostFile): Promise<Grant> {
  const { grant, refusal } = await giveOrRefusal(file);
  if (grant === undefined || refusal !== undefined) throw new Error(`it was not given: ${refusal}`);
  return grant;
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

const PLACES = possible([
  ['on cgroup v1', { cgroupVersion: 1 }],
  ['on cgroup v2', { cgroupVersion: 2 }],
  ['with a user namespace', { cgroupVersion: 2, userNamespaceBase: 1_000_000 }],
] as const);

describe.each(PLACES)('an attack on files from inside a container %s', (_, options) => {
  beforeAll(() => start(options));
  afterAll(stop);
  afterEach(async () => {
    if (await clean(container, ['/opt', '/moved', '/real', '/usr', '/lib', '/tmp/region'])) return;
    await stop();
    await start(options);
  });

  test.each(BEFORE)('by %s reaches nothing', async (_name, line, which, why) => {
    await container.run(line.replaceAll('HOST', canary.path));
    const before = await container.run('ls -lR /opt /usr /lib /real');
    expect(await refusalOf(files()[which])).toMatch(why);
    expect(await container.run('ls -lR /opt /usr /lib /real')).toBe(before);
    expect(canary.look()).toEqual(untouched);
  });

  test.each(AT_LINK)('by %s where a library has its link reaches nothing, and is left alone', async (_name, make) => {
    const look = () => container.run('ls -ld /usr/lib/libcuda.so.1; ls -R /usr | grep -v 550');
    await container.run(`mkdir -p /usr/lib; ${make.replaceAll('HOST', canary.path)} /usr/lib/libcuda.so.1`);
    const before = await look();
    const grant = await given(files().lib);
    expect(await look()).toBe(before);
    await engine.revoke(handle, grant, []);
    expect(await look()).toBe(before);
  });

  test.each([
    ['another file', (path: string) => writeFileSync(path, 'new'), /the node has another file at/],
    ['a link', (path: string) => symlinkSync('/etc/shadow', path), /must be a file, a folder or a socket/],
  ])('brings in nothing where the node’s file has become %s meanwhile', async (_name, make, why) => {
    const hostPath = join(mkdtempSync(join(host, 'replaced-')), 'tool');
    writeFileSync(hostPath, 'old');
    const plan = await engine.plan(handle, 'a', [], []);
    const grant = { ...plan, files: (await engine.planFiles(handle, [{ ...files().tool, hostPath }], [])).files };
    renameSync(hostPath, `${hostPath}.old`);
    make(hostPath);
    await expect(engine.grant(handle, grant, [])).rejects.toThrow(why);
    expect(await container.run('ls -R /opt')).not.toContain('tool');
  });

  test.each(BETWEEN)('by %s, after the mount, reaches nothing', async (_name, line) => {
    const grant = await given(files().tool);
    await container.run(line.replaceAll('HOST', canary.path));
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

  test('is not asked for a file through a file system of its own that never answers', async () => {
    // In a user namespace nobody makes such a node.
    const source = join(host, 'fuse');
    if (!existsSync(source)) execFileSync('mknod', ['-m', '666', source, 'c', String(FUSE.major), String(FUSE.minor)]);
    await start({
      ...place,
      capabilities: ['CAP_SYS_ADMIN'],
      mounts: [bind(source, '/tmp/fuse')],
      rules: [{ allow: true, type: 'c', major: FUSE.major, minor: FUSE.minor, access: 'rw' }],
      prepare: (rootfs) => buildProgram(NEVER_ANSWERS, join(rootfs, 'bin/never-answers')),
    });
    await container.run('mkdir -p /opt/vendor/bin; touch /opt/vendor/bin/tool');
    await container.run('never-answers /opt/vendor 40000 >/tmp/up & until test -s /tmp/up; do :; done');
    expect(await refusalOf(files().tool)).toMatch(MOUNTED);
    await container.run('kill %1; wait; umount /opt/vendor');
    await container.run(
      'rm /tmp/up; never-answers /opt/vendor/bin/tool 100000 >/tmp/up & until grep -q up /tmp/up; do :; done',
    );
    expect(await refusalOf(files().tool)).toMatch(OTHER);
  });
});
