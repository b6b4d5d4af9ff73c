import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ContainerHandle, Grant, HostFile } from '../../node-worker/kernel/engine.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from './container.ts';
import { FUSE } from './devices.ts';
import { engine } from './engine.ts';
import { addVendorFiles, buildLibcuda, IMAGES, ownedBy, treeOf, VERSION } from './injected.ts';
import { CGROUP_VERSIONS, possible, WORK } from './places.ts';

let host: string;
let libcuda: HostFile;
let tool: HostFile;
let data: HostFile;
beforeAll(() => {
  cleanUp();
  mkdirSync(WORK, { recursive: true });
  host = mkdtempSync(join(WORK, 'host-'));
  addVendorFiles(host);
  const hostPath = buildLibcuda(join(host, 'usr/lib64'));
  libcuda = { hostPath, path: `/usr/lib64/libcuda.so.${VERSION}` };
  tool = { hostPath: join(host, 'opt/vendor/tool'), path: '/opt/vendor/bin/tool' };
  data = { hostPath: join(host, 'opt/vendor/data'), path: '/opt/vendor/data' };
});
afterAll(cleanUp);

let container: TestContainer;
let handle: ContainerHandle;
let before: readonly string[];
async function start(options: StartOptions): Promise<void> {
  container = await startContainer({
    ...options,
    prepare(rootfs) {
      options.prepare?.(rootfs);
      if (options.userNamespaceBase !== undefined) ownedBy(options.userNamespaceBase, rootfs);
    },
  });
  handle = await engine.openContainer({ containerId: container.id, pid: container.pid });
  before = treeOf(container.rootfs);
}
afterEach(async () => {
  handle.close();
  await container.stop();
});

async function planned(owner: string, files: readonly HostFile[], others: readonly Grant[] = []): Promise<Grant> {
  const plan = await engine.plan(handle, owner, [], others);
  return { ...plan, files: (await engine.planFiles(handle, files, others)).files };
}

/** Options and optional fields of what is mounted on a path. */
const mountsOn = (path: string): readonly string[] =>
  readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8')
    .split('\n')
    .filter((line) => line.split(' ')[4] === path)
    .map((line) => line.split(' - ')[0]?.split(' ').slice(5).join(' ') ?? '');

const PLACES = possible([
  ['on cgroup v1', { cgroupVersion: 1 }],
  ['on cgroup v2', { cgroupVersion: 2 }],
  ['with a user namespace', { cgroupVersion: 2, userNamespaceBase: 1_000_000 }],
] as const);

describe.each(PLACES)('a container %s', (_, options) => {
  test.each(IMAGES)('of %s loads a library while it has it, in %s', async (_name, folder, prepare) => {
    await start({ ...options, prepare });
    const path = `${folder}/libcuda.so.${VERSION}`;
    expect(await container.run('load libcuda.so.1')).toMatch(/libcuda.so.1.*(No such file|cannot open)/);
    const grant = await planned('a', [libcuda]);
    expect(treeOf(container.rootfs)).toEqual(before);
    expect(await engine.grant(handle, grant, [])).toMatchObject({ filesMade: [path, `${folder}/libcuda.so.1`] });
    expect(await container.run('load libcuda.so.1')).toBe('cuInit 2\n');
    expect(mountsOn(path)).toEqual([expect.stringMatching(/^ro,nosuid,nodev\S* *$/)]);
    expect(await container.run(`echo x >>${path}; touch ${path}; rm ${path}`)).toMatch(
      /(?:Read-only file system|Permission denied)[^]*touch: [^]*Read-only file system[^]*(?:busy|Read-only)/,
    );
    expect(await engine.drifted(handle, [grant])).toBe(false);
    expect(await engine.grant(handle, grant, [])).toMatchObject({ filesMade: [] });
    expect(await engine.revoke(handle, grant, [])).toMatchObject({ filesRemoved: [path, `${folder}/libcuda.so.1`] });
    expect(await container.run('load libcuda.so.1')).toMatch(/libcuda.so.1/);
    expect([mountsOn(path), treeOf(container.rootfs)]).toEqual([[], before]);
    expect(await engine.revoke(handle, grant, [])).toMatchObject({ filesRemoved: [] });
  });

  test('gets a tool, a folder and a socket, without set-user-id and below folders that are made', async () => {
    const server = createServer((connection) => connection.end('hello'));
    const socket = { hostPath: join(host, 'socket'), path: '/run/vendor/socket' };
    await new Promise<void>((resolve) => {
      server.listen(socket.hostPath, resolve);
    });
    try {
      await start({ ...options, prepare: (rootfs) => mkdirSync(join(rootfs, 'run')) });
      const grant = await planned('a', [tool, data, socket]);
      await engine.grant(handle, grant, []);
      expect(
        await container.run('/opt/vendor/bin/tool; cat /opt/vendor/data/file; test -S /run/vendor/socket && echo s'),
      ).toBe('tool\ndatas\n');
      expect(await container.run('stat -c "%u %g %a" /opt /opt/vendor/bin')).toBe('0 0 755\n0 0 755\n');
      expect([tool, data, socket].flatMap(({ path }) => mountsOn(path))).toEqual(
        Array.from({ length: 3 }, () => expect.stringMatching(/^ro,nosuid,nodev/)),
      );
      expect(await container.run('touch /opt/vendor/data/x')).toContain('Read-only file system');
      await engine.revoke(handle, grant, []);
      expect(treeOf(container.rootfs)).toEqual(before);
    } finally {
      server.close();
    }
  });

  test('loses a library that a process has mapped, and the process goes on', async () => {
    await start({ ...options, prepare: IMAGES[0][2] });
    const grant = await planned('a', [libcuda]);
    await engine.grant(handle, grant, []);
    await container.run('load libcuda.so.1 hold >/tmp/said & echo $! >/tmp/pid; until test -s /tmp/said; do :; done');
    await engine.revoke(handle, grant, []);
    const { ino } = statSync(libcuda.hostPath);
    expect(await container.run(`grep -c ' ${ino} ' /proc/$(cat /tmp/pid)/maps; ls /usr/lib/*/libcuda*`)).toMatch(
      /^[1-9]\n[^]*No such file/,
    );
  });

  test('shares files between mounts: they go with the last one', async () => {
    await start(options);
    const a = await planned('a', [tool]);
    await engine.grant(handle, a, []);
    const b = await planned('b', [tool, data], [a]);
    await engine.grant(handle, b, [a]);
    expect(await engine.revoke(handle, a, [b])).toMatchObject({ filesRemoved: [] });
    expect(await container.run('/opt/vendor/bin/tool; cat /opt/vendor/data/file')).toBe('tool\ndata');
    await engine.revoke(handle, b, []);
    expect(treeOf(container.rootfs)).toEqual(before);
  });

  test('gets back what somebody has unmounted, and an interrupted grant is finished or undone', async () => {
    await start(options);
    const grant = await planned('a', [tool, data]);
    await engine.grant(handle, grant, []);
    const enter = ['-t', String(container.pid), '-m'];
    execFileSync('nsenter', [...enter, 'umount', tool.path]);
    execFileSync('nsenter', [...enter, 'umount', data.path]);
    expect(await engine.drifted(handle, [grant])).toBe(true);
    expect(await engine.grant(handle, grant, [])).toMatchObject({ filesMade: [tool.path, data.path] });
    execFileSync('nsenter', [...enter, 'umount', tool.path]);
    await engine.revoke(handle, grant, []);
    expect(treeOf(container.rootfs)).toEqual(before);
  });
});

describe.each(CGROUP_VERSIONS)('on cgroup v%i', (cgroupVersion) => {
  test('a link is made again when it is gone, and left alone when it is another', async () => {
    await start({ cgroupVersion, prepare: IMAGES[0][2] });
    const link = `${IMAGES[0][1]}/libcuda.so.1`;
    const grant = await planned('a', [libcuda]);
    await engine.grant(handle, grant, []);
    await container.run(`rm ${link}`);
    expect(await engine.drifted(handle, [grant])).toBe(true);
    expect(await engine.grant(handle, grant, [])).toMatchObject({ filesMade: [link] });
    await container.run(`rm ${link}; ln -s mine ${link}`);
    expect(await engine.drifted(handle, [grant])).toBe(false);
    await engine.revoke(handle, grant, []);
    expect(await container.run(`ls -l ${IMAGES[0][1]}`)).toMatch(/libcuda\.so\.1 -> mine\n(?![^]*libcuda\.so\.550)/);
  });

  test('files and devices come together, or not at all', async () => {
    await start({ cgroupVersion });
    const files = await planned('a', [tool]);
    const grant = { ...(await engine.plan(handle, 'a', [FUSE], [])), files: files.files ?? [] };
    await container.run('mkdir -p /opt/vendor/bin; echo mine >/opt/vendor/bin/tool');
    await expect(engine.grant(handle, grant, [])).rejects.toThrow('it has another file there');
    expect(await container.run('ls /dev/fuse; cat /opt/vendor/bin/tool')).toMatch(/No such file[^]*mine/);
    expect(engine.accessTo(handle, FUSE)).not.toMatch(/[rw]/);
  });

  test('of an image on overlayfs only entries of folders are left', async () => {
    const layers = mkdtempSync(join(WORK, 'layers-'));
    const [upper = '', work = ''] = ['upper', 'work'].map((name) => join(layers, name));
    await start({
      cgroupVersion,
      prepare(rootfs) {
        IMAGES[0][2](rootfs);
        for (const layer of [upper, work]) mkdirSync(layer);
        const options = `lowerdir=${rootfs},upperdir=${upper},workdir=${work}`;
        execFileSync('mount', ['-t', 'overlay', '-o', options, 'overlay', rootfs]);
      },
    });
    execFileSync('umount', ['-l', container.rootfs]);
    const image = treeOf(container.rootfs);
    const written = treeOf(upper);
    const grant = await planned('a', [libcuda, tool, data]);
    await engine.grant(handle, grant, []);
    expect(await container.run('load libcuda.so.1; /opt/vendor/bin/tool')).toBe('cuInit 2\ntool\n');
    await engine.revoke(handle, grant, []);
    const left = treeOf(upper).filter((line) => !written.includes(line));
    expect(left.map((line) => line.split(' ')[0])).toEqual(['/usr', '/usr/lib', IMAGES[0][1]]);
    expect(left.filter((line) => !image.includes(line))).toEqual([]);
  });

  test('what is mounted on the host later is not seen in the container', async () => {
    const folder = mkdtempSync(join(host, 'shared-'));
    execFileSync('mount', ['-t', 'tmpfs', 'none', folder]);
    execFileSync('mount', ['--make-shared', folder]);
    try {
      mkdirSync(join(folder, 'below'));
      await start({ cgroupVersion });
      await engine.grant(handle, await planned('a', [{ hostPath: folder, path: '/shared' }]), []);
      execFileSync('mount', ['-t', 'tmpfs', 'none', join(folder, 'below')]);
      writeFileSync(join(folder, 'below/file'), 'later');
      expect(mountsOn('/shared')).toEqual([expect.stringMatching(/^ro,nosuid,nodev\S* *$/)]);
      expect(await container.run('ls /shared /shared/below; cat /proc/mounts')).not.toMatch(/file|shared\/below \S/);
    } finally {
      execFileSync('umount', ['-R', folder]);
    }
  });

  test('a file that cannot be given back takes no device with it', async () => {
    await start({ cgroupVersion });
    const grant = { ...(await planned('a', [tool])), devices: (await engine.plan(handle, 'a', [FUSE], [])).devices };
    await engine.grant(handle, grant, []);
    execFileSync('nsenter', ['-t', String(container.pid), '-m', 'umount', tool.path]);
    await container.run(`rm -f ${tool.path}; echo mine >${tool.path}`);
    await expect(engine.grant(handle, grant, [])).rejects.toThrow('it has another file there');
    expect(await container.run(`test -c /dev/fuse && true <>/dev/fuse && echo opened; cat ${tool.path}`)).toBe(
      'opened\nmine\n',
    );
    await engine.revoke(handle, grant, []);
    expect(await container.run(`ls /dev/fuse; cat ${tool.path}`)).toMatch(/No such file[^]*mine/);
  });

  test('what the container has of the host already is left to it', async () => {
    const options = ['bind', 'ro'];
    const mounts = [{ destination: tool.path, type: 'bind', source: tool.hostPath, options }];
    await start({ cgroupVersion, mounts });
    const grant = await planned('a', [tool]);
    expect(grant.files).toMatchObject([{ name: 'found' }]);
    expect(await engine.grant(handle, grant, [])).toMatchObject({ filesMade: [] });
    expect(await engine.revoke(handle, grant, [])).toMatchObject({ filesRemoved: [] });
    expect(await container.run('/opt/vendor/bin/tool')).toBe('tool\n');
  });
});
