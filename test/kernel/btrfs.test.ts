import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ContainerHandle, Grant } from '../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { CARD, policyOf } from './devices.ts';
import { engine } from './engine.ts';
import { CGROUP_VERSIONS, WORK } from './places.ts';

/** The smallest that mkfs.btrfs makes is a little less. */
const IMAGE_BYTES = 128 * 1024 * 1024;
const IMAGE = join(WORK, 'btrfs.img');
const MOUNT = join(WORK, 'btrfs');
/** What the kernel numbers otherwise than the mount that it is seen through. */
const SUBVOLUME = join(MOUNT, 'subvolume');
const DRI = join(SUBVOLUME, 'dri');

beforeAll(() => {
  cleanUp();
  mkdirSync(MOUNT, { recursive: true });
  writeFileSync(IMAGE, '');
  truncateSync(IMAGE, IMAGE_BYTES);
  execFileSync('mkfs.btrfs', ['--quiet', IMAGE]);
  execFileSync('mount', ['-o', 'loop', IMAGE, MOUNT]);
  execFileSync('btrfs', ['subvolume', 'create', SUBVOLUME]);
  // The runtime's mount point, which it could not make in one that is read-only.
  for (const directory of [DRI, join(SUBVOLUME, 'pts')]) mkdirSync(directory);
});
afterAll(() => {
  execFileSync('umount', [MOUNT]);
  rmSync(IMAGE);
  cleanUp();
});

describe.each(CGROUP_VERSIONS)('a subvolume of btrfs on cgroup v%i', (cgroupVersion) => {
  let container: TestContainer;
  let handle: ContainerHandle;
  const start = async (source?: string, destination = '', options: readonly string[] = ['rbind']): Promise<void> => {
    const mounts = source === undefined ? [] : [{ destination, type: 'bind', source, options }];
    container = await startContainer({ cgroupVersion, mounts });
    handle = await engine.openContainer({ containerId: container.id });
  };
  const stop = async (): Promise<void> => {
    handle.close();
    await container.stop();
  };
  afterEach(async () => {
    await stop();
    expect(readdirSync(DRI)).toEqual([]);
  });

  /** As the checkpoint of a container whose directories were its own. */
  async function forged(): Promise<Omit<Grant, 'containerId'>> {
    await start();
    const plan = await engine.plan(handle, 'a', [CARD], []);
    await stop();
    return { ...plan, devices: plan.devices.map((device) => ({ ...device, madeDirectories: [] })) };
  }

  test.each([
    ['', ['rbind']],
    ['read-only ', ['rbind', 'ro']],
  ])('that is a %sdirectory below /dev is never written', async (_, options) => {
    const grant = await forged();
    await start(DRI, '/dev/dri', options);
    const policy = policyOf(container);
    await expect(engine.plan(handle, 'a', [CARD], [])).rejects.toThrow("the directory is the host's");
    const there = { ...grant, containerId: container.id };
    await expect(engine.grant(handle, there, [])).rejects.toMatchObject({ type: 'ContainerUnsupported' });
    expect(policyOf(container)).toEqual(policy);
  });

  test.each([
    ['', ['rbind']],
    ['read-only ', ['rbind', 'ro']],
  ])('that is a %s/dev is known as the host’s and never written', async (_, options) => {
    await start(SUBVOLUME, '/dev', options);
    expect(engine.inspect(handle).dev).toBe('shared');
    const device = { ...CARD, path: '/dev/card0' };
    await expect(engine.plan(handle, 'a', [device], [])).rejects.toThrow("the directory is the host's");
    expect(readdirSync(SUBVOLUME)).not.toContain('card0');
  });
});
