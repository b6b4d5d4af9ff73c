import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, expect, test } from '@jest/globals';
import { NODE_LABEL } from '../../../contract/names.ts';
import { hasCode } from '../../../node-worker/kernel/syscall.ts';
import { stopProcess } from '../../stop-process.ts';
import { nodeWorkerPid } from '../cluster.ts';
import { daemonPodReady, place } from '../daemon-sets.ts';
import { deviceState } from '../device-state.ts';
import { ask, failureIn, messageOf } from '../kube.ts';
import { isMine, laneNode } from '../lane.ts';
import { leaseLapsed, nodeWorkerReplaced } from '../node-workers.ts';
import { expectNothingMounted, FUSE, mount, mountOk, slavesGone, unmount } from '../pods.ts';
import { settled } from '../settled.ts';
import { signal } from '../signal.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

const node = laneNode();
const targets = new Targets();
const target = (): Promise<string> => targets.start(node.name);
const nodeWorkerReady = (): Promise<void> => daemonPodReady('device-mounter-node', node.name);

beforeEach(nodeWorkerReady);
/** One that still waits would hold this process. */
const tracers: ChildProcess[] = [];
afterEach(async () => {
  for (const tracer of tracers.splice(0)) tracer.kill('SIGKILL');
  await targets.remove();
});
afterAll(expectNoPods);

/**
 * Kills the node worker with SIGKILL at the moment one of its helper processes enters the system call `name`: strace stops the helper
 * there, so that the product needs no switch for this test. What is left of the helper is the container runtime's to end.
 */
async function killAtSyscall(pid: number, name: string): Promise<{ killed: Promise<void> }> {
  const watched = [pid, ...childrenOf(pid)].flatMap((one) => ['-p', String(one)]);
  const strace = spawn('strace', ['-f', ...watched, '-e', `trace=${name}`, '-e', `inject=${name}:signal=STOP`]);
  tracers.push(strace);
  strace.stderr.setEncoding('utf8');
  let output = '';
  strace.stderr.on('data', (text: string) => {
    output += text;
  });
  // A helper can end meanwhile.
  const isAttached = (): boolean => (output.match(/ attached|No such process/g)?.length ?? 0) >= watched.length / 2;
  await until('strace to be attached', async () => isAttached());
  return {
    killed: until(
      'a helper process to be stopped',
      async () => output.includes('stopped by SIGSTOP'),
      undefined,
      5,
    ).then(() => {
      signal(pid, 'SIGKILL');
      // On SIGTERM it would detach in turn, and wait for ever for a thread that has just been killed.
      strace.kill('SIGKILL');
    }),
  };
}

const childrenOf = (pid: number): readonly string[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      return readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean);
    } catch (err) {
      // A thread can end meanwhile.
      if (hasCode(err, 'ENOENT', 'ESRCH')) return [];
      throw err;
    }
  });

// The node's kind makes no difference to these: the nodes share them.
if (isMine(0))
  test('without a node worker a mount is NodeUnreachable, and there is no slave', async () => {
    const pod = await target();
    await place('device-mounter-node', node.name, 'away');
    try {
      await until('its Lease to lapse', () => leaseLapsed(node.name));
      const refused = await mount(pod, FUSE, '&wait_second=38');
      expect([refused.status, failureIn(refused)]).toEqual([503, 'NodeUnreachable']);
      await slavesGone(pod);
    } finally {
      await place('device-mounter-node', node.name, 'here');
    }
    await expectNothingMounted(pod);
    await mountOk(pod, FUSE, '&wait_second=30');
  });

if (isMine(1))
  test('a node worker frozen in the middle is NodeUnreachable, and all is undone when it is back', async () => {
    const pod = await target();
    const pid = await nodeWorkerPid(node);
    await stopProcess(pid);
    try {
      // That it has stopped shows in a missed beat and in its Lease: on a busy machine that takes longer than one answer may.
      const refused = await until('the mount to be refused', async () => {
        const answer = await mount(pod, FUSE, '&wait_second=120', { name: `frozen-${pod}` });
        return answer.status !== 202 && answer;
      });
      expect([refused.status, failureIn(refused)]).toEqual([503, 'NodeUnreachable']);
      expect(messageOf(refused)).toMatch(/node worker/i);
    } finally {
      signal(pid, 'SIGCONT');
    }
    await slavesGone(pod);
    await expectNothingMounted(pod);
    await nodeWorkerReady();
    await mountOk(pod, FUSE, '&wait_second=30');
  });

test.each(['mknodat', 'renameat2'])(
  'a node worker killed at %s leaves the right state after its return',
  async (call) => {
    const pod = await target();
    const begun = { pod, name: `killed-${call}-${pod}`, device: '/dev/fuse', before: await deviceState(pod) } as const;
    const pid = await nodeWorkerPid(node);
    const { killed } = await killAtSyscall(pid, call);
    const mounting = mount(pod, FUSE, '&wait_second=38', { name: begun.name });
    await killed;
    await mounting;
    await nodeWorkerReplaced(node, pid);
    if ((await settled(begun)) === 'undone') await mountOk(pod, FUSE, '&wait_second=30');
    expect((await unmount(pod, '&wait_second=30')).status).toBe(200);
    await expectNothingMounted(pod);
  },
);

function enabled(value: string | null): Promise<unknown> {
  return ask('PATCH', `/api/v1/nodes/${node.name}`, { metadata: { labels: { [NODE_LABEL.key]: value } } });
}

if (isMine(2))
  test('a node that is not enabled is refused with that reason', async () => {
    const pod = await target();
    await enabled(null);
    try {
      await until('the Lease of the node worker to lapse', () => leaseLapsed(node.name));
      const refused = await mount(pod, FUSE);
      expect(messageOf(refused)).toMatch(/device-mounter-enable=enable/);
    } finally {
      await enabled(NODE_LABEL.value);
      await nodeWorkerReady();
    }
  });
