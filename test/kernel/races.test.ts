import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { failureOf } from '../../contract/failures.ts';
import type { ContainerHandle, DeviceNode } from '../../node-worker/kernel/engine.ts';
import { buildProgram } from './c-program.ts';
import { type Canary, makeCanary } from './canary.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, policyOf } from './devices.ts';
import { engine } from './engine.ts';
import { possible } from './places.ts';
import { rounds } from './rounds.ts';

/** Does one thing as fast as it can until it is killed: exchanges two names, or mounts a directory on another and takes it away. */
const RACER = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
int main(int count, char **words) {
  if (fork()) return 0;
  for (;;) {
    if (!strcmp(words[1], "exchange")) renameat2(AT_FDCWD, words[2], AT_FDCWD, words[3], RENAME_EXCHANGE);
    if (!strcmp(words[1], "tmpfs")) mount("none", words[2], "tmpfs", 0, "");
    if (!strcmp(words[1], "bind")) mount(words[3], words[2], 0, MS_BIND, 0);
    if (strcmp(words[1], "exchange")) umount2(words[2], MNT_DETACH);
  }
}`;

const NESTED: DeviceNode = { ...CARD, path: '/dev/a/b/card0' };

/** `HOST` is the canary's path, which means nothing inside, `/volume` the same directory as a volume that can be written. */
const RACES: readonly (readonly [string, string, DeviceNode])[] = [
  [
    'a directory is exchanged with a symlink to the host',
    'mkdir /dev/dri; ln -s HOST /dev/link; racer exchange /dev/dri /dev/link',
    CARD,
  ],
  [
    'a directory is exchanged with one of another depth',
    'mkdir -p /dev/a/b /dev/c/d/e; racer exchange /dev/a /dev/c/d; racer exchange /dev/a/b /dev/c/d/e',
    NESTED,
  ],
  [
    'every directory on the way is exchanged with a symlink',
    'mkdir -p /dev/a/b; ln -s HOST /dev/x; ln -s ../..HOST /dev/y; racer exchange /dev/a /dev/x; racer exchange /dev/a/b /dev/y',
    NESTED,
  ],
  [
    'the temporary name is exchanged with another device',
    'mknod /dev/other c 1 1; racer exchange /dev/.fuse.devmnt /dev/other',
    FUSE,
  ],
  [
    'the temporary name is exchanged with a symlink to a node of the host',
    'ln -s HOST/fuse /dev/other; racer exchange /dev/.fuse.devmnt /dev/other',
    FUSE,
  ],
  [
    'the node is exchanged with a symlink to a node of the host',
    'ln -s HOST/fuse /dev/other; racer exchange /dev/fuse /dev/other',
    FUSE,
  ],
  ['the node is exchanged with a directory', 'mkdir /dev/other; racer exchange /dev/fuse /dev/other', FUSE],
  [
    'the temporary name is exchanged with a directory',
    'mkdir /dev/other; racer exchange /dev/.fuse.devmnt /dev/other',
    FUSE,
  ],
  ["a directory gets a volume of the host's", 'mkdir /dev/dri; racer bind /dev/dri /volume', CARD],
  ["a directory gets a deeper volume of the host's", 'mkdir -p /dev/a/b; racer bind /dev/a /volume', NESTED],
  ["/dev gets a volume of the host's", 'racer bind /dev /volume', FUSE],
  ['/dev gets a file system of its own', 'racer tmpfs /dev', CARD],
  ["the node's name gets a node of the host's", 'touch /dev/fuse; racer bind /dev/fuse /volume/fuse', FUSE],
];

let canary: Canary;
let untouched: readonly string[];
let container: TestContainer;
let handle: ContainerHandle;
beforeAll(cleanUp);
afterAll(cleanUp);

describe.each(
  possible([
    ['on cgroup v1', { cgroupVersion: 1 }],
    ['on cgroup v2', { cgroupVersion: 2 }],
    ['with a user namespace', { cgroupVersion: 2, userNamespaceBase: 1_000_000 }],
  ] as const),
)('while a container %s is given a device and loses it', (_, options) => {
  beforeEach(async () => {
    canary = makeCanary();
    // The root of a user namespace must come through.
    chmodSync(canary.path, 0o755);
    untouched = canary.look();
    container = await startContainer({
      ...options,
      capabilities: ['CAP_SYS_ADMIN'],
      mounts: [{ destination: '/volume', type: 'bind', source: canary.path, options: ['rbind', 'rw'] }],
      prepare: (rootfs) => {
        mkdirSync(join(rootfs, 'volume'));
        buildProgram(RACER, join(rootfs, 'bin/racer'));
      },
    });
    handle = await engine.openContainer({ containerId: container.id });
  });
  afterEach(async () => {
    handle.close();
    await container.stop();
    canary.remove();
  });

  test.each(RACES)('and %s, nothing of the host changes', async (_, line, device) => {
    const policy = policyOf(container);
    const plan = await engine.plan(handle, 'a', [device], []);
    await container.run(line.replaceAll('HOST', canary.path));
    for (const _ of rounds()) {
      try {
        await engine.grant(handle, plan, []);
      } catch (err) {
        expect(failureOf(err)?.type).toBe('ContainerUnsupported');
      }
      await engine.revoke(handle, plan, []);
    }
    expect(await container.run('cat /proc/[0-9]*/comm')).toContain('racer');
    expect(policyOf(container)).toEqual(policy);
    expect(engine.accessTo(handle, device)).not.toMatch(/[rw]/);
    expect(canary.look()).toEqual(untouched);
  });
});
