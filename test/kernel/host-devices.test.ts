import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { freePort } from '../../process/free-port.ts';
import { KubeletSide } from '../device-plugin/kubelet-side.ts';
import { eventually } from '../workflows/outcome.ts';
import { buildProgram } from './c-program.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const RESOURCE = 'hostdev.k8s.io/disk';

/** `add` prints the number of a new loop device, `add N` makes that one, `remove N` takes it away if it is there. */
const LOOP_CONTROL = `
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
int main(int count, char **words) {
  int adds = count > 1 && !strcmp(words[1], "add"), number = count > 2 ? atoi(words[2]) : -1;
  int done, control = open("/dev/loop-control", O_RDWR);
  while ((done = ioctl(control, adds ? LOOP_CTL_ADD : LOOP_CTL_REMOVE, number)) < 0 && errno == EBUSY) usleep(1000);
  if (done < 0 && (adds || errno != ENODEV)) return perror("loop-control"), 1;
  printf("%d", done);
}`;

let dir = '';
let disk = '';
let number = '';
let kubelet: KubeletSide;
let plugin: ChildProcess;
let metricsUrl = '';

const loop = (...words: readonly string[]): string => execFileSync(join(dir, 'loop'), [...words], { encoding: 'utf8' });

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'plugin-'));
  buildProgram(LOOP_CONTROL, join(dir, 'loop'));
  number = loop('add');
  disk = `/dev/loop${number}`;
  writeFileSync(join(dir, 'devices.yaml'), `devices: [{ name: disk, path: ${disk} }]`);
  const plugins = mkdtempSync(join(dir, 'plugins-'));
  kubelet = new KubeletSide(plugins);
  await kubelet.start();
  const port = await freePort();
  metricsUrl = `http://127.0.0.1:${port}/metrics`;
  const args = ['--config', join(dir, 'devices.yaml'), '--plugin-dir', plugins, '--dev-root', '/dev'];
  plugin = spawn(
    process.execPath,
    ['--no-warnings', join(ROOT, 'device-plugin/main.ts'), ...args, '--health-port', String(port)],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  await eventually(() => kubelet.devices(RESOURCE));
});

afterEach(async () => {
  const ended = new Promise((resolve) => plugin.once('exit', resolve));
  plugin.kill('SIGKILL');
  await ended;
  kubelet.stop();
  loop('remove', number);
  rmSync(disk, { force: true });
  rmSync(dir, { recursive: true });
});

/** It looks once a second. */
const seen = (...devices: readonly string[]): Promise<unknown> =>
  eventually(() => isDeepStrictEqual(kubelet.devices(RESOURCE), devices));

test('a disk that is removed, made again and replaced by another device is seen each time', async () => {
  await seen(`${disk} Healthy`);
  await kubelet.allocate(RESOURCE, [disk]);
  for (let round = 0; round < 2; round += 1) {
    loop('remove', number);
    await seen(`${disk} Unhealthy`);
    loop('add', number);
    await seen(`${disk} Healthy`);
  }
  loop('remove', number);
  execFileSync('mknod', [disk, 'c', '1', '3']);
  await seen(`${disk} Unhealthy`, `${disk}@c1:3 Healthy`);
  const text = await (await fetch(metricsUrl)).text();
  for (const series of [
    `devices{resource="${RESOURCE}",health="unhealthy"} 1`,
    `allocations_total{resource="${RESOURCE}",result="ok"} 1`,
  ])
    expect(text).toContain(`device_mounter_hostdev_${series}`);
  rmSync(disk);
  await seen(`${disk} Unhealthy`);
  loop('add', number);
  await seen(`${disk} Healthy`);
});
