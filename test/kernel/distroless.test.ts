import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ContainerHandle } from '../../node-worker/kernel/engine.ts';
import { buildProgram } from './c-program.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, policyOf } from './devices.ts';
import { engine } from './engine.ts';
import { possible } from './places.ts';

/** All there is in the image. It is told what to do as the shell of other containers is, and knows `open PATH` and `drop`. */
const APP = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void) {
  char line[512], *word;
  int held = -1;
  setvbuf(stdout, 0, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\\n")] = 0;
    if (!strncmp(line, "{ open ", 7)) {
      held = open(line + 7, O_RDWR);
      puts(held < 0 ? strerror(errno) : "opened");
    } else if (!strcmp(line, "{ drop")) {
      close(held);
    } else if (!strncmp(line, "{ echo", 6)) {
      printf("%d\\n", getpid());
    } else if ((word = strstr(line, "; echo "))) {
      puts(word + 7);
    }
  }
}`;

function leaveOnlyTheApp(rootfs: string): void {
  for (const name of readdirSync(rootfs)) rmSync(join(rootfs, name), { recursive: true });
  buildProgram(APP, join(rootfs, 'app'));
  // A read-only root, and one of other ids, must have what is mounted on it.
  for (const name of ['proc', 'dev']) mkdirSync(join(rootfs, name));
}

let container: TestContainer;
let handle: ContainerHandle;
beforeAll(cleanUp);
afterAll(cleanUp);
afterEach(async () => {
  handle.close();
  await container.stop();
});

describe.each(
  possible([
    ['on cgroup v1', { cgroupVersion: 1 }],
    ['on cgroup v2', { cgroupVersion: 2 }],
    ['of crun', { cgroupVersion: 2, runtime: 'crun' }],
    ['with a user namespace', { cgroupVersion: 2, userNamespaceBase: 1_000_000 }],
    ['with a read-only root', { cgroupVersion: 2, readOnlyRoot: true }],
  ] as const),
)('a container of one static binary %s', (_, options) => {
  test('gets its devices, is found using them, and gives them back', async () => {
    container = await startContainer({ ...options, prepare: leaveOnlyTheApp, args: ['/app'] });
    expect(readdirSync(container.rootfs).toSorted()).toEqual(['app', 'dev', 'proc']);
    handle = await engine.openContainer({ containerId: container.id });
    const before = policyOf(container);
    expect(await container.run('open /dev/fuse')).toBe('No such file or directory\n');
    const plan = await engine.plan(handle, 'a', [FUSE, CARD], []);
    expect(await engine.grant(handle, plan, [])).toMatchObject({ nodesMade: ['/dev/fuse', '/dev/dri/card0'] });
    expect(await container.run('open /dev/dri/card0')).toBe('No such device or address\n');
    expect(await container.run('open /dev/fuse')).toBe('opened\n');
    expect(await engine.usersOf(handle, [FUSE])).toMatchObject([{ command: 'app', containerInit: true, via: 'fd' }]);
    expect(await container.run('drop')).toBe('');
    expect(await engine.usersOf(handle, [FUSE])).toEqual([]);
    expect(await engine.revoke(handle, plan, [])).toMatchObject({ nodesRemoved: ['/dev/fuse', '/dev/dri/card0'] });
    expect(await container.run('open /dev/fuse')).toBe('No such file or directory\n');
    expect(policyOf(container)).toEqual(before);
  });
});
