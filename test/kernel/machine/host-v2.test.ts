import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { hierarchies, removeTree } from '../../../deploy/local/cgroup.ts';
import { type NestedHost, startHost } from '../../host-v2/host.ts';
import { until } from '../devices.ts';
import { saysSomething } from '../network.ts';
import { CGROUP_VERSIONS } from '../places.ts';

const PREFIX = 'device-mounter-host-v2-';
/** Cgroups and scratch folders of the nested host that `pid` started. */
const placesOf = (pid: number): readonly string[] =>
  [...hierarchies(), '/tmp'].map((root) => join(root, `${PREFIX}${pid}`));
const mountPoints = (): readonly string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');

describe('the nested host', () => {
  let host: NestedHost;
  beforeAll(async () => {
    host = await startHost();
  });
  afterAll(() => host.stop());
  const run = (...command: readonly string[]): string =>
    execFileSync(host.enter[0], [...host.enter.slice(1), ...command], { env: host.env, encoding: 'utf8' });

  test('has one cgroup hierarchy, of version 2', () => {
    expect(run('stat', '--file-system', '--format=%T', '/sys/fs/cgroup')).toBe('cgroup2fs\n');
    // Only what holds fork bombs, where the machine has v1 for it.
    const ofV1 = CGROUP_VERSIONS.includes(1) ? '/run/machine-pids\n' : '';
    expect(run('sh', '-c', 'findmnt -no TARGET -t cgroup || true')).toBe(ofV1);
  });

  test('has a network of its own', () => {
    expect(run('ip', '-br', 'link')).toMatch(/^lo +UNKNOWN .*\n$/);
  });

  test('is run by a systemd that takes orders', () => {
    expect(run('systemctl', 'is-active', 'dbus.service')).toBe('active\n');
  });
});

test('a nested host ends with whoever started it, and all of its processes', async () => {
  const script = `import { startHost } from ${JSON.stringify(join(import.meta.dirname, '../../host-v2/host.ts'))};
    import { spawn } from 'node:child_process';
    const host = await startHost();
    spawn(host.enter[0], [...host.enter.slice(1), 'sh', '-c', 'sleep 1000 & echo up; wait'], { stdio: 'inherit' });`;
  const starter = spawn(process.execPath, ['--no-warnings', '--input-type=module-typescript', '-e', script]);
  await saysSomething(starter);
  const [cgroup = ''] = placesOf(starter.pid ?? 0).filter((place) => existsSync(join(place, 'init.scope')));
  expect(
    readFileSync(join(cgroup, 'visitors', 'cgroup.procs'), 'utf8')
      .trim()
      .split('\n').length,
  ).toBeGreaterThan(1);
  starter.kill('SIGKILL');
  await until(
    () => readFileSync(join(cgroup, 'cgroup.events'), 'utf8'),
    (events) => events.includes('populated 0'),
  );
  for (const place of placesOf(starter.pid ?? 0)) removeTree(place);
  expect(mountPoints().filter((point) => point.includes(PREFIX))).toEqual([]);
});

test('nothing is left of nested hosts', () => {
  const mine = `${PREFIX}${process.pid}`;
  expect(hierarchies().filter((root) => readdirSync(root).includes(mine))).toEqual([]);
  expect(existsSync(join('/tmp', mine))).toBe(false);
});
