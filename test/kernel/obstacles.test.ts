import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { cgroupsInUse } from '../../deploy/local/obstacles.ts';
import { until } from './devices.ts';
import { NAME, V2_ROOT } from './places.ts';

const ASK = join(import.meta.dirname, 'obstacles.ts');
/** A network namespace, and a place of its own for named ones. */
let network: ChildProcess;
const inside = (...command: readonly string[]): string =>
  execFileSync('nsenter', [`--target=${network.pid}`, '--net', '--mount', ...command], { encoding: 'utf8' });
const ask = (when: 'before' | 'after'): readonly string[] =>
  // A cluster that runs on this machine has its cgroups in the same hierarchies.
  (JSON.parse(inside(process.execPath, '--no-warnings', ASK, when)) as string[]).filter(
    (sentence) => !sentence.includes('the cgroup'),
  );

beforeEach(async () => {
  const script = 'mount --make-rprivate / && mount -t tmpfs run /run && ip link set lo up && echo up && exec cat';
  network = spawn('unshare', ['--net', '--mount', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  await new Promise((resolve) => network.stdout?.once('data', resolve));
});
afterEach(async () => {
  network.kill('SIGKILL');
  await until(() => network.exitCode ?? network.signalCode, Boolean);
});

test('an empty network has no obstacle, before nor after what is ours is in it', () => {
  expect(ask('before')).toEqual([]);
  expect(ask('after')).toEqual([]);
});

describe('obstacles() names', () => {
  test.each<[string, string, string]>([
    [
      'a route to a part of the Services',
      'ip route add blackhole 10.96.128.0/24',
      'The route to 10.96.128.0/24 overlaps 10.96.0.0/16, which the cluster uses.',
    ],
    [
      'a route that holds all of the cluster',
      'ip route add 10.0.0.0/8 dev lo',
      'The route to 10.0.0.0/8 on lo overlaps 10.97.0.1, which the cluster uses.',
    ],
    [
      'a route of another table',
      'ip route add 10.244.3.0/24 dev lo table 77',
      'The route to 10.244.3.0/24 on lo overlaps 10.244.0.0/16, which the cluster uses.',
    ],
    [
      'an address of a node',
      'ip address add 10.97.0.12/32 dev lo',
      'The address 10.97.0.12 on lo lies in 10.97.0.12, which the cluster uses.',
    ],
    ['a kube-proxy', 'nft add table ip kube-proxy', 'Another kube-proxy runs here: the nft table kube-proxy exists.'],
  ])('%s', (_, change, sentence) => {
    inside('sh', '-c', change);
    expect(ask('before')).toContain(sentence);
  });

  test('no default route, also none of a VPN in two parts', () => {
    inside('sh', '-c', 'ip route add default dev lo && ip route add 0.0.0.0/1 dev lo && ip route add 8.0.0.0/7 dev lo');
    expect(ask('before')).toEqual([]);
  });

  test.each([
    ['the loopback address', '127.0.0.1', 12_379],
    ['all addresses', '0.0.0.0', 16_443],
    ['all addresses of both families', '::', 11_250],
  ])('who listens on %s', async (_, host, port) => {
    const listen = `require('net').createServer().listen(${port}, '${host}', () => console.log('listens'))`;
    const listener = spawn('nsenter', [`--target=${network.pid}`, '--net', process.execPath, '-e', listen]);
    try {
      await new Promise((resolve) => listener.stdout.once('data', resolve));
      const shown = host === '::' ? '\\*' : host;
      expect(ask('before')).toEqual([
        expect.stringMatching(RegExp(`^TCP port ${port} on ${shown} is in use by .+ .pid ${listener.pid}.\\.$`)),
      ]);
    } finally {
      listener.kill('SIGKILL');
    }
  });

  test('nobody who listens elsewhere on a port of ours', async () => {
    inside('ip', 'address', 'add', '192.0.2.7/32', 'dev', 'lo');
    const listen = `require('net').createServer().listen(16443, '192.0.2.7', () => console.log('listens'))`;
    const listener = spawn('nsenter', [`--target=${network.pid}`, '--net', process.execPath, '-e', listen]);
    try {
      await new Promise((resolve) => listener.stdout.once('data', resolve));
      expect(ask('before')).toEqual([]);
    } finally {
      listener.kill('SIGKILL');
    }
  });
});

describe('firewallObstacles() names', () => {
  const ALLOW_OTHERS =
    'iptables -I FORWARD -s 10.244.0.0/16 -j ACCEPT && iptables -I FORWARD -d 10.244.0.0/16 -j ACCEPT';
  const ALLOW_MACHINE = 'iptables -I INPUT -s 10.244.0.0/16 -j ACCEPT';
  const others = `The firewall of this machine drops what pods send to each other. Allow it with: ${ALLOW_OTHERS}`;
  const machine = `The firewall of this machine drops what pods send to this machine. Allow it with: ${ALLOW_MACHINE}`;
  test.each([
    ["Docker's policy", 'iptables -P FORWARD DROP', [others], ALLOW_OTHERS],
    [
      'a rejecting rule of nftables',
      'nft add table inet f && nft add chain inet f c "{ type filter hook forward priority 10; }" && nft add rule inet f c reject with icmpx admin-prohibited',
      [others],
      'nft insert rule inet f c ip saddr 10.244.0.0/16 accept && nft insert rule inet f c ip daddr 10.244.0.0/16 accept',
    ],
    ['a closed machine', 'iptables -P INPUT DROP', [machine], ALLOW_MACHINE],
  ])('%s, until its advice is followed', (_, close, sentences, open) => {
    inside('sh', '-c', close);
    expect(ask('after')).toEqual(sentences);
    inside('sh', '-c', open);
    expect(ask('after')).toEqual([]);
  });
});

describe('cgroupsInUse()', () => {
  const root = join(V2_ROOT, `${NAME}-obstacles`);
  beforeEach(() => void mkdirSync(root));
  afterEach(() => rmdirSync(root));

  test.each(['kubepods', 'kubepods.slice', 'node-1'])('sees %s of another kubelet', (name) => {
    const cgroup = join(root, name);
    mkdirSync(cgroup);
    try {
      const sentence = `Another kubelet seems to run here: the cgroup ${cgroup} exists.`;
      expect(cgroupsInUse([root], [{ name: 'node-1' }])).toEqual([sentence]);
    } finally {
      rmdirSync(cgroup);
    }
    expect(cgroupsInUse([root], [{ name: 'node-1' }])).toEqual([]);
  });
});
