import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { OWNER_VARIABLE } from '../../../deploy/local/server.ts';
import { listenIn, makeNetwork, saysSomething, type TestNetwork } from '../network.ts';
import { NAME, V2_ROOT } from '../places.ts';

const READ = join(import.meta.dirname, 'traces.ts');
const READ_BEFORE = join(import.meta.dirname, 'traces-before.ts');
let network: TestNetwork;
/** The state folder of a cluster that never was. */
let state: string;
beforeEach(async () => {
  network = await makeNetwork();
  state = mkdtempSync(join(tmpdir(), 'traces-'));
  writeFileSync(join(state, 'before'), read());
});
afterEach(async () => {
  await network.remove();
  rmSync(state, { recursive: true });
});

const read = (...args: readonly string[]): string =>
  network.run(process.execPath, '--no-warnings', READ, state, ...args);
/** What is new; cgroups of anything else on this machine come and go meanwhile. */
const left = (): readonly string[] =>
  (JSON.parse(read(join(state, 'before'))) as string[])
    .filter((trace) => !trace.startsWith('cgroup:') || trace.includes(NAME))
    // A kubelet that starts beside this test sets those of the machine.
    .filter((trace) => !trace.startsWith('kernel setting:') || trace.startsWith('kernel setting: net/'));

test('leftSince() answers nothing where nothing is left', () => {
  expect(left()).toEqual([]);
});

test.each([
  ['a mount', 'mount -t tmpfs left /mnt', 'mount: /mnt (tmpfs)'],
  ['a network namespace', 'ip netns add left', 'network namespace: left'],
  ['a table', 'nft add table ip left', 'nft table: table ip left'],
  ['a link', 'ip link add left type veth peer name left-too', 'link: left'],
  ['a route', 'ip route add blackhole 10.244.0.0/24', 'route: blackhole 10.244.0.0/24 '],
  ['an address', 'ip address add 10.97.0.1/32 dev lo', expect.stringMatching(/^route: local 10\.97\.0\.1 dev lo/)],
  [
    'forwarding',
    'cd /proc/sys/net/ipv4 && echo $((1 - $(cat ip_forward))) >ip_forward',
    expect.stringMatching(/^kernel setting: net\/ipv4\/ip_forward = [01]$/),
  ],
  ['a mount point', 'mkdir /run/containerd', 'folder: /run/containerd'],
])('leftSince() names %s', (_, line, trace) => {
  network.run('sh', '-c', line);
  expect(left()).toContainEqual(trace);
});

test('leftSince() names a cgroup', () => {
  const cgroup = join(V2_ROOT, `${NAME}-traces`);
  mkdirSync(cgroup);
  try {
    expect(left()).toEqual([`cgroup: ${cgroup}`]);
  } finally {
    rmdirSync(cgroup);
  }
});

test('leftSince() names a socket', async () => {
  const listener = await listenIn(network, '127.0.0.1', 12_379);
  try {
    expect(left()).toEqual([expect.stringMatching(/^listening socket: .*127\.0\.0\.1:12379 /)]);
  } finally {
    listener.kill('SIGKILL');
  }
});

/** Gives back the line that it gets once it is `cat`, whose name the test reads. */
function startFor(root: string): ChildProcess {
  const child = spawn('cat', { env: { ...process.env, [OWNER_VARIABLE]: root } });
  child.stdin.write('up\n');
  return child;
}

test('leftSince() names a process of the cluster, and none of another one', async () => {
  const [ours, other] = [startFor(state), startFor(`${state}-2`)];
  try {
    await Promise.all([saysSomething(ours), saysSomething(other)]);
    expect(left()).toEqual([`process: ${ours.pid} cat`]);
  } finally {
    for (const child of [ours, other]) child.kill('SIGKILL');
  }
});

test('readTracesBefore() first takes away what a cluster of another folder has left, and its settings', () => {
  const other = mkdtempSync(join(tmpdir(), 'traces-other-'));
  const forwarding = 'net/ipv4/ip_forward';
  try {
    // The cgroups of this machine are for those that run now.
    network.run('mount', '-t', 'tmpfs', 'none', '/sys/fs/cgroup');
    network.run('sh', '-c', `echo 1 >/proc/sys/${forwarding}; ln -s ${other} /run/device-mounter-local`);
    writeFileSync(join(other, 'cluster.json'), JSON.stringify({ nodes: [], sysctls: { [forwarding]: '0' } }));
    const traces = network.run(process.execPath, '--no-warnings', READ_BEFORE, state);
    expect(traces).toContain(`kernel setting: ${forwarding} = 0`);
    expect(readdirSync(other)).toEqual([]);
  } finally {
    rmSync(other, { recursive: true });
  }
});
