import { expect, test } from '@jest/globals';
import { GROUPS, groupOf, parseStat, type Snapshot, snapshot, timePerRound, usedBetween } from './processor-time.ts';

test.each([
  ['MainThread', ['node', 'workflows/main.ts'], 'control workers'],
  ['MainThread', ['node', 'apiserver/main.ts'], 'API servers'],
  ['MainThread', ['node', '--optimize-for-size', 'node-worker/main.ts'], 'node workers'],
  ['MainThread', ['node', '/app/node-worker/kernel/helper-child.ts'], 'node workers'],
  ['MainThread', ['node', 'device-plugin/main.ts'], 'device plugins'],
  ['temporal', ['/tools/temporal', 'server', 'start-dev'], 'Temporal'],
  ['kube-apiserver', ['/tools/kube-apiserver'], 'kube-apiserver'],
  ['containerd-shim', ['/tools/containerd-shim-runc-v2'], 'containerd and shims'],
  ['MainThread', ['node', 'main.ts'], 'other processes'],
])('groupOf() tells a process %s %j: %s', (name, words, group) => {
  expect(groupOf(name, `${words.join('\0')}\0`)).toBe(group);
});

/** Of a shell on Linux 6.18 that had named itself `my) (name` and had waited for a child. */
const STAT =
  '14952 (my) (name) S 14949 14949 32000 0 -1 4194304 238 169 0 0 12 0 40 0 20 0 1 0 5133654 4464640 780 ' +
  '18446744073709551615 94496902103040 94496902892445 140736583016576 0 0 0 65536 4 65538 1 0 0 17 0 0 0 0 0 0 94' +
  '496903125744 94496903173988 94496934936576 140736583023087 140736583023301 140736583023301 140736583024618 0\n';

test('parseStat() reads times and start, whatever the name', () => {
  expect(parseStat(STAT)).toEqual({ name: 'my) (name', ownMs: 120, childrenMs: 400, start: '5133654' });
});

const times = (group: (typeof GROUPS)[number], ownMs: number, childrenMs = 0) => ({ group, ownMs, childrenMs });

test('usedBetween() counts what began before only from then, and what has ended with whoever waited for it', () => {
  const before: Snapshot = new Map([
    ['1 0', times('Temporal', 1_000)],
    ['2 0', times('containerd and shims', 500, 70)],
    // Ends after another 20 ms of its own.
    ['3 5', times('other processes', 100, 10)],
  ]);
  const after: Snapshot = new Map([
    ['1 0', times('Temporal', 1_300)],
    // It has waited for process 3, and for a runc of 40 ms.
    ['2 0', times('containerd and shims', 550, 70 + 120 + 10 + 40)],
    // Another process has got the pid.
    ['3 9', times('kubelets', 30)],
  ]);
  expect(usedBetween(before, after)).toEqual({
    ...Object.fromEntries(GROUPS.map((group) => [group, 0])),
    Temporal: 300,
    'containerd and shims': 50,
    kubelets: 30,
    'short-lived processes': 60,
  });
});

test('snapshot() has the processes of this machine, but not this one', () => {
  const pids = [...snapshot().keys()].map((id) => Number(id.split(' ')[0]));
  expect(pids).toContain(1);
  expect(pids).not.toContain(process.pid);
});

test('timePerRound() makes every round once', async () => {
  let made = 0;
  const time = await timePerRound(3, async () => void (made += 1));
  expect(made).toBe(3);
  expect(Object.keys(time)).toEqual([...GROUPS]);
});
