import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { NODE_LEASE_SECONDS, nodeLease } from '../../contract/names.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { NODES, nodeWorkerPid, restartTemporal } from './cluster.ts';
import { place } from './daemon-sets.ts';
import { getJson, kubectl, kubectlOk } from './kubectl.ts';
import { expectNothingMounted, FUSE, inPod, mount, mountOk, ruleAllowsFuse, slavesGone, unmount } from './pods.ts';
import { Targets } from './targets.ts';
import { until } from './until.ts';

const targets = new Targets();
const target = (node: string): Promise<string> => targets.start(node);

afterEach(() => targets.remove());

/** Waits until the device is really there or really not, with everything that belongs to it. */
async function settled(pod: string, name: string): Promise<'mounted' | 'undone'> {
  const phase = await until(`${name} to be mounted or undone`, () => endPhase(name), 120_000);
  if (phase === 'Mounted') {
    expect(await inPod(pod, 'exec 3<>/dev/fuse && echo opened')).toMatchObject({ stdout: 'opened\n' });
    return 'mounted';
  }
  await slavesGone(pod);
  await expectNothingMounted(pod);
  return 'undone';
}

/** `undefined` while it is on its way, or while nobody can tell. A mount that was never taken has failed. */
async function endPhase(name: string): Promise<string | undefined> {
  const { code, stdout, stderr } = await kubectl(['get', 'devicemounts.device-mounter.io', name, '-o', 'json']);
  if (code === 0) {
    const { phase } = (JSON.parse(stdout) as DeviceMount).status;
    return phase === 'Pending' || phase === 'Releasing' ? undefined : phase;
  }
  return stderr.includes('NotFound') ? 'Failed' : undefined;
}

async function nodeWorkerReady(node: ClusterNode): Promise<void> {
  await until(`the node worker of ${node.name} to be ready`, async () => {
    const list = await getJson<{
      items: { spec: { nodeName: string }; status: { conditions?: { type: string; status: string }[] } }[];
    }>(['pods', '-n', 'device-mounter', '-l', 'app.kubernetes.io/name=device-mounter-node']);
    const pod = list?.items.find(({ spec }) => spec.nodeName === node.name);
    return pod?.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
  });
}

async function leaseLapsed(node: ClusterNode): Promise<boolean> {
  const lease = await getJson<{ spec: { renewTime: string } }>(['lease', nodeLease(node.name), '-n', 'device-mounter']);
  return lease === undefined || Date.parse(lease.spec.renewTime) + NODE_LEASE_SECONDS * 1_000 < Date.now();
}

/**
 * Kills the process with SIGKILL at the moment it enters the system call `name`: strace injects the signal, so that the
 * product needs no switch for this test.
 */
async function killAtSyscall(pid: number, name: string): Promise<{ killed: Promise<void> }> {
  const strace = spawn('strace', ['-f', '-p', String(pid), '-e', `trace=${name}`, '-e', `inject=${name}:signal=KILL`]);
  strace.stderr.setEncoding('utf8');
  let output = '';
  strace.stderr.on('data', (text: string) => {
    output += text;
  });
  const exited = once(strace, 'exit').then(() => undefined);
  await until('strace to be attached', async () => /attached/.test(output), 10_000);
  return { killed: exited };
}

describe.each(NODES.map((node) => [node.name, node] as const))('on %s', (_name, node) => {
  beforeAll(() => nodeWorkerReady(node));

  test('without a node worker a mount is NodeUnreachable, and there is no slave', async () => {
    const pod = await target(node.name);
    await place('device-mounter-node', 'nowhere');
    try {
      const refused = await mount(pod, FUSE, '&wait_second=38');
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(/node worker/i);
      await slavesGone(pod);
    } finally {
      await place('device-mounter-node', 'everywhere');
    }
    await nodeWorkerReady(node);
    await expectNothingMounted(pod);
    await mountOk(pod, FUSE, '&wait_second=30');
  });

  test('a node worker frozen in the middle is NodeUnreachable, and all is undone when it is back', async () => {
    const pod = await target(node.name);
    const pid = await nodeWorkerPid(node);
    process.kill(pid, 'SIGSTOP');
    try {
      const refused = await mount(pod, FUSE, '&wait_second=38');
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(/node worker/i);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await slavesGone(pod);
    await expectNothingMounted(pod);
    await nodeWorkerReady(node);
    await mountOk(pod, FUSE, '&wait_second=30');
  });

  test.each(['mknodat', 'renameat2'])(
    'a node worker killed at %s leaves the right state after its return',
    async (call) => {
      const pod = await target(node.name);
      const name = `killed-${call}-${pod}`;
      const { killed } = await killAtSyscall(await nodeWorkerPid(node), call);
      const mounting = mount(pod, FUSE, '&wait_second=38', { name });
      await killed;
      await mounting;
      await nodeWorkerReady(node);
      if ((await settled(pod, name)) === 'undone') await mountOk(pod, FUSE, '&wait_second=30');
      expect((await unmount(pod, '&wait_second=30')).code).toBe(0);
      await expectNothingMounted(pod);
    },
  );

  test.each([0, 40, 90, 150, 300])(
    'Temporal killed %i ms into a mount and restarted: mounted or undone',
    async (afterMs) => {
      const pod = await target(node.name);
      const name = `temporal-${afterMs}-${pod}`;
      const mounting = mount(pod, FUSE, '&wait_second=20', { name });
      await new Promise((resolve) => {
        setTimeout(resolve, afterMs);
      });
      await restartTemporal();
      await mounting;
      if ((await settled(pod, name)) === 'mounted') expect((await unmount(pod, '&wait_second=30')).code).toBe(0);
      await slavesGone(pod);
      expect(await ruleAllowsFuse(pod)).toBe(false);
    },
  );

  test('a node that is not enabled is refused with that reason', async () => {
    const pod = await target(node.name);
    await kubectlOk(['label', 'node', node.name, 'device-mounter-enable-']);
    try {
      await until('the Lease of the node worker to lapse', () => leaseLapsed(node));
      const refused = await mount(pod, FUSE);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(/device-mounter-enable=enable/);
    } finally {
      await kubectlOk(['label', 'node', node.name, 'device-mounter-enable=enable']);
    }
    await nodeWorkerReady(node);
  });
});
