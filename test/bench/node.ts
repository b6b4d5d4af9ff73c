import { attachProgram, withLoaded } from '../../node-worker/kernel/bpf.ts';
import { withCgroup } from '../../node-worker/kernel/cgroup-v2.ts';
import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import type { DeviceNode, Grant, KernelEngine } from '../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from '../kernel/container.ts';
import { CARD, DENY_FUSE, FUSE } from '../kernel/devices.ts';
import { atLeast, atMost, type Figure, measured, p50, timed } from './figure.ts';
import { benchHeal } from './node-heal.ts';
import { benchMemory } from './node-memory.ts';
import { nsenter } from './nsenter.ts';

const ROUNDS = 200;
const SLOW_ROUNDS = 20;
const MOUNTS = 100;
const ALLOW_MULTI = 2;

/** What the node worker takes, on real containers of both cgroup versions. Needs root. */
export async function benchNode(): Promise<readonly Figure[]> {
  const engine = createEngine();
  cleanUp();
  try {
    return [
      ...(await benchVersion(engine, 1)),
      ...(await benchVersion(engine, 2)),
      ...(await benchManyMounts(engine)),
      await benchUserNamespace(engine, 1),
      await benchUserNamespace(engine, 2),
      ...(await benchHeal()),
      ...(await benchMemory()),
    ];
  } finally {
    cleanUp();
  }
}

async function benchVersion(engine: KernelEngine, cgroupVersion: 1 | 2): Promise<readonly Figure[]> {
  const container = await startContainer({ cgroupVersion });
  try {
    const attaches = await rounds(ROUNDS, () => attach(engine, container));
    const step = p50(attaches.map(({ stepMs }) => stepMs));
    const whole = p50(attaches.map(({ wholeMs }) => wholeMs));
    const nsenter = p50(await rounds(SLOW_ROUNDS, () => Promise.resolve(nsenterStep(container))));
    const name = `node.v${cgroupVersion}`;
    return [
      atMost(`${name}.step.p50`, step, 'ms', 1),
      measured(`${name}.find-and-plan-and-step.p50`, whole, 'ms'),
      measured(`${name}.nsenter-mknod.p50`, nsenter, 'ms'),
      atLeast(`${name}.times-faster-than-nsenter`, nsenter / whole, 'times', 3),
      ...(await benchDrift(engine, container, name)),
    ];
  } finally {
    await container.stop();
  }
}

/** The node is bind-mounted there. */
async function benchUserNamespace(engine: KernelEngine, cgroupVersion: 1 | 2): Promise<Figure> {
  const container = await startContainer({ cgroupVersion, userNamespaceBase: 1_000_000 });
  try {
    const attaches = await rounds(ROUNDS, () => attach(engine, container));
    return atMost(`node.v${cgroupVersion}.user-namespace.step.p50`, p50(attaches.map(({ stepMs }) => stepMs)), 'ms', 1);
  } finally {
    await container.stop();
  }
}

async function rounds<T>(count: number, one: () => Promise<T>): Promise<readonly T[]> {
  const results: T[] = [];
  for (let round = 0; round < count; round++) results.push(await one());
  return results;
}

/** `stepMs`: rules, node and verification of one device; `wholeMs`: also finding the container again and planning. */
async function attach(
  engine: KernelEngine,
  { id, pid }: TestContainer,
): Promise<{ readonly stepMs: number; readonly wholeMs: number }> {
  const start = performance.now();
  const handle = await engine.openContainer({ containerId: id, pid });
  const plan = await engine.plan(handle, 'bench', [FUSE], []);
  const stepMs = await timed(() => engine.grant(handle, plan, []));
  const wholeMs = performance.now() - start;
  await engine.revoke(handle, plan, []);
  handle.close();
  return { stepMs, wholeMs };
}

/** Only the node, as tools do it that enter the container's mount namespace and run its own mknod. */
function nsenterStep({ pid }: TestContainer): number {
  const time = nsenter(pid, 'mknod -m 666 /dev/bench c 10 229');
  nsenter(pid, 'rm /dev/bench');
  return time;
}

async function benchDrift(
  engine: KernelEngine,
  { id, cgroup, cgroupVersion }: TestContainer,
  name: string,
): Promise<readonly Figure[]> {
  const handle = await engine.openContainer({ containerId: id });
  const plan = await engine.plan(handle, 'bench', [FUSE], []);
  await engine.grant(handle, plan, []);
  const check = (): Promise<number> => timed(() => engine.drifted(handle, [plan]));
  const checks = await rounds(ROUNDS, check);
  const heal = async (): Promise<number> => {
    if (cgroupVersion === 2) takeBack(cgroup);
    else await engine.revoke(handle, plan, []);
    if (!(await engine.drifted(handle, [plan]))) throw new Error('the rules were not taken away');
    return timed(async () => (await engine.drifted(handle, [plan])) && engine.grant(handle, plan, []));
  };
  const heals = await rounds(SLOW_ROUNDS, heal);
  await engine.revoke(handle, plan, []);
  handle.close();
  return [
    measured(`${name}.drift-check.p50`, p50(checks) * 1000, 'us'),
    atMost(`${name}.mend.p50`, p50(heals), 'ms', 2000),
  ];
}

/** As systemd does at a daemon-reload: another program, which refuses, beside the ones there. */
function takeBack(cgroup: string): void {
  withCgroup(cgroup, (cgroupFd) => withLoaded(DENY_FUSE, 'bench', (fd) => attachProgram(cgroupFd, fd, ALLOW_MULTI)));
}

/** The engine with 100 mounts in one container, each checked for drift. */
async function benchManyMounts(engine: KernelEngine): Promise<readonly Figure[]> {
  const container = await startContainer({ cgroupVersion: 2 });
  try {
    const handle = await engine.openContainer({ containerId: container.id });
    const grants: Grant[] = [];
    for (let index = 0; index < MOUNTS; index++) {
      const device: DeviceNode = { ...CARD, path: `/dev/dri/card${index}`, minor: index };
      const plan = await engine.plan(handle, `mount-${index}`, [device], grants);
      await engine.grant(handle, plan, grants);
      grants.push(plan);
    }
    const check = await rounds(SLOW_ROUNDS, () => timed(() => engine.drifted(handle, grants)));
    handle.close();
    return [measured('node.100-mounts-in-one.drift-check.p50', p50(check), 'ms')];
  } finally {
    await container.stop();
  }
}
