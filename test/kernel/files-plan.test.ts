import { mkdirSync, mkdtempSync, readdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ContainerHandle, HostFile } from '../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { engine } from './engine.ts';
import { addVendorFiles, buildLibcuda, treeOf, VERSION } from './injected.ts';
import { WORK } from './places.ts';

let host: string;
let libcuda: HostFile;
let tool: HostFile;
let data: HostFile;
beforeAll(() => {
  cleanUp();
  mkdirSync(WORK, { recursive: true });
  host = mkdtempSync(join(WORK, 'host-'));
  addVendorFiles(host);
  libcuda = { hostPath: buildLibcuda(join(host, 'usr/lib64')), path: `/usr/lib64/libcuda.so.${VERSION}` };
  tool = { hostPath: join(host, 'opt/vendor/tool'), path: '/opt/vendor/bin/tool' };
  data = { hostPath: join(host, 'opt/vendor/data'), path: '/opt/vendor/data' };
});
afterAll(cleanUp);

let container: TestContainer;
let handle: ContainerHandle;
beforeEach(async () => {
  container = await startContainer({ cgroupVersion: 2 });
  handle = await engine.openContainer({ containerId: container.id, pid: container.pid });
});
afterEach(async () => {
  handle.close();
  await container.stop();
});

const warningsOf = async (files: readonly HostFile[]): Promise<readonly string[]> =>
  (await engine.planFiles(handle, files, [])).warnings;

describe('planFiles()', () => {
  test('warns where programs may not find a library', async () => {
    expect(await warningsOf([libcuda])).toEqual([expect.stringContaining('no C library')]);
    await container.run('mkdir -p /lib /etc; touch /lib/ld-musl-x86_64.so.1 /lib/ld-musl-aarch64.so.1');
    expect(await warningsOf([libcuda])).toEqual([]);
    const [libc] = readdirSync('/lib').filter((name) => name.endsWith('-linux-gnu'));
    const ofGlibc = { hostPath: realpathSync(`/usr/lib/${libc}/libm.so.6`), path: '/usr/lib/libm.so.6' };
    expect(await warningsOf([ofGlibc])).toEqual([expect.stringContaining('built for glibc')]);
    await container.run('touch /etc/ld-musl-x86_64.path /etc/ld-musl-aarch64.path; echo mine >/lib/libcuda.so.1');
    expect(await warningsOf([libcuda])).toEqual([
      expect.stringContaining('tells programs where to look'),
      expect.stringContaining('"/lib/libcuda.so.1" is another file'),
    ]);
  });

  test('goes through the folders that most images have as links', async () => {
    await container.run('mkdir -p /usr/lib /run /var; ln -s usr/lib /lib; ln -s ../run /var/run');
    const files = [
      { ...tool, path: '/lib/firmware/tool' },
      { ...tool, path: '/var/run/vendor/tool' },
    ];
    const { files: found } = await engine.planFiles(handle, files, []);
    expect(found.map(({ path }) => path)).toEqual(['/usr/lib/firmware/tool', '/run/vendor/tool']);
  });

  test.each([
    ['a path that is not absolute', { path: 'opt/tool' }, 'Invalid'],
    ['a path that climbs', { path: '/opt/../tool' }, 'Invalid'],
    ['the root', { path: '/' }, 'Invalid'],
    ['a file that the host has not', { hostPath: '/nowhere/tool' }, 'NotFound'],
    ['a device', { hostPath: '/dev/null' }, 'Invalid'],
  ])('refuses %s', async (_name, change, type) => {
    await expect(engine.planFiles(handle, [{ ...tool, ...change }], [])).rejects.toMatchObject({ type });
  });

  test('refuses two files for one path', async () => {
    const files = [tool, { ...data, path: tool.path }];
    await expect(engine.planFiles(handle, files, [])).rejects.toThrow('it has another file there');
  });

  test('takes files of a host whose mounts are in another namespace', async () => {
    const other = await startContainer({ cgroupVersion: 2 });
    try {
      await other.run('echo theirs >/tmp/own');
      const own = { hostPath: `/proc/${other.pid}/root/tmp/own`, path: '/opt/own' };
      const plan = await engine.plan(handle, 'a', [], []);
      await engine.grant(handle, { ...plan, files: (await engine.planFiles(handle, [own], [])).files }, []);
      expect(await container.run('cat /opt/own')).toBe('theirs\n');
    } finally {
      await other.stop();
    }
  });

  test('is not what is mounted when the host has replaced the file since', async () => {
    const own = { hostPath: join(host, 'replaced'), path: '/opt/replaced' };
    writeFileSync(own.hostPath, 'one');
    const plan = await engine.plan(handle, 'a', [], []);
    const grant = { ...plan, files: (await engine.planFiles(handle, [own], [])).files };
    const before = treeOf(container.rootfs);
    writeFileSync(`${own.hostPath}.new`, 'two');
    renameSync(`${own.hostPath}.new`, own.hostPath);
    await expect(engine.grant(handle, grant, [])).rejects.toThrow('the node has another file');
    expect(treeOf(container.rootfs)).toEqual(before);
  });
});
