import { execFileSync } from 'node:child_process';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { removeTree } from '../../../deploy/local/cgroup.ts';
import { cgroupsInUse } from '../../../deploy/local/obstacles.ts';
import { listenIn, makeNetwork, type TestNetwork } from '../network.ts';
import { NAME, V2_ROOT } from '../places.ts';

const ASK = join(import.meta.dirname, 'obstacles.ts');
let network: TestNetwork;
const inside = (line: string): string => network.run('sh', '-c', line);
const ask = (when: 'before' | 'after'): readonly string[] =>
  // A cluster that runs on this machine has its cgroups in the same hierarchies.
  (JSON.parse(network.run(process.execPath, '--no-warnings', ASK, when)) as string[]).filter(
    (sentence) => !sentence.includes('the cgroup'),
  );

beforeEach(async () => {
  network = await makeNetwork();
});
afterEach(() => network.remove());

test('an empty network has no obstacle, before nor after what is ours is in it, and is as before in the end', () => {
  const state =
    'cat /proc/sys/net/ipv4/ip_forward; ip address; ip route show table all; ls /run/netns; nft list ruleset';
  inside('echo 0 >/proc/sys/net/ipv4/ip_forward; mkdir /run/netns');
  const before = inside(state);
  expect(ask('before')).toEqual([]);
  expect(ask('after')).toEqual([]);
  expect(inside(state)).toBe(before);
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
    inside(change);
    expect(ask('before')).toContain(sentence);
  });

  test('no default route, also none of a VPN in two parts', () => {
    inside('ip route add default dev lo && ip route add 0.0.0.0/1 dev lo && ip route add 8.0.0.0/7 dev lo');
    expect(ask('before')).toEqual([]);
  });

  test.each([
    ['the loopback address', '127.0.0.1', 12_379],
    ['all addresses', '0.0.0.0', 16_443],
    ['all addresses of both families', '::', 11_250],
  ])('who listens on %s', async (_, host, port) => {
    const listener = await listenIn(network, host, port);
    try {
      const shown = host === '::' ? '\\*' : host;
      expect(ask('before')).toEqual([
        expect.stringMatching(RegExp(`^TCP port ${port} on ${shown} is in use by .+ .pid ${listener.pid}.\\.$`)),
      ]);
    } finally {
      listener.kill('SIGKILL');
    }
  });

  test('nobody who listens elsewhere on a port of ours', async () => {
    inside('ip address add 192.0.2.7/32 dev lo');
    const listener = await listenIn(network, '192.0.2.7', 16_443);
    try {
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
    inside(close);
    expect(ask('after')).toEqual(sentences);
    inside(open);
    expect(ask('after')).toEqual([]);
  });
});

describe('cgroupsInUse()', () => {
  const root = join(V2_ROOT, `${NAME}-obstacles`);
  beforeEach(() => {
    mkdirSync(root);
  });
  afterEach(() => rmdirSync(root));

  test.each(['kubepods', 'kubepods.slice', 'node-1'])('sees %s of another kubelet', (name) => {
    const cgroup = join(root, name);
    mkdirSync(cgroup);
    try {
      const advice = `find ${cgroup} -depth -type d -delete`;
      const sentence = `Another kubelet seems to run here: the cgroup ${cgroup} exists. If none does, remove it: ${advice}`;
      expect(cgroupsInUse([root], [{ name: 'node-1' }])).toEqual([sentence]);
      execFileSync('sh', ['-c', advice]);
    } finally {
      removeTree(cgroup);
    }
    expect(cgroupsInUse([root], [{ name: 'node-1' }])).toEqual([]);
  });
});
