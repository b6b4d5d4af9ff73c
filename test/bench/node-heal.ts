import { spawn } from 'node:child_process';
import { Healer, LOOK_PERIOD_MS } from '../../node-worker/guards/healer.ts';
import type { ContainerHandle, Grant } from '../../node-worker/kernel/engine.ts';
import type { TestContainer } from '../kernel/container.ts';
import { KernelNode } from '../kernel/node/node.ts';
import { type NestedSystemd, startSystemd } from '../kernel/systemd.ts';
import { atMost, type Figure, measured, p50 } from './figure.ts';

/** Drifts of each kind, spread evenly over the period in which the healer looks. */
const DRIFTS = 10;
const GOAL_MS = 2_000;
const POLL_MS = 2;
/** What containerd sends again with every update of resources: crun sets the devices anew. */
const DEVICES = { devices: [{ allow: false, access: 'rwm' }] };

/** How long a container is without what it was given: from when the kernel refuses it until it gives it again. */
export async function benchHeal(): Promise<readonly Figure[]> {
  const systemd = await startSystemd(2);
  try {
    return [
      ...(await benchDrifts('crun-update-v1', { cgroupVersion: 1, runtime: 'crun' }, updated)),
      ...(await benchDrifts('crun-update-v2', { cgroupVersion: 2, runtime: 'crun' }, updated)),
      ...(await benchDrifts('daemon-reload', { cgroupVersion: 2, systemd }, () => reloaded(systemd))),
    ];
  } finally {
    await systemd.stop();
  }
}

async function benchDrifts(
  name: string,
  options: Parameters<KernelNode['start']>[0],
  drift: (container: TestContainer) => Promise<void>,
): Promise<readonly Figure[]> {
  const node = await KernelNode.make();
  const fixed = { tellOwner: nobody, release: () => undefined, slaveDeadlineMs: 1e9 };
  const healer = new Healer({ deps: node.deps, ...fixed, periodMs: LOOK_PERIOD_MS });
  try {
    const container = (node.target = await node.start(options));
    await node.attach(node.memory.addSlave('s1'));
    await confirmAll(node);
    healer.start();
    const times: number[] = [];
    for (let index = 0; index < DRIFTS; index++) {
      await pause((LOOK_PERIOD_MS / DRIFTS) * index);
      times.push(await lostFor(node, container, drift));
    }
    return [
      measured(`node.heal.${name}.p50`, p50(times), 'ms'),
      atMost(`node.heal.${name}.max`, Math.max(...times), 'ms', GOAL_MS),
    ];
  } finally {
    await healer.stop();
    await node.stop();
  }
}

const nobody = async (): Promise<void> => undefined;

async function lostFor(
  { deps }: KernelNode,
  container: TestContainer,
  drift: (container: TestContainer) => Promise<void>,
): Promise<number> {
  const handle = await deps.engine.openContainer({ containerId: container.id });
  const grants = deps.store.records().flatMap(({ devices }) => devices.map(({ grant }) => grant));
  try {
    const lost = whenDrifted(deps.engine, handle, grants, true);
    await drift(container);
    const from = await lost;
    return (await whenDrifted(deps.engine, handle, grants, false)) - from;
  } finally {
    handle.close();
  }
}

async function whenDrifted(
  engine: KernelNode['deps']['engine'],
  handle: ContainerHandle,
  grants: readonly Grant[],
  wanted: boolean,
): Promise<number> {
  while ((await engine.drifted(handle, grants)) !== wanted) await pause(POLL_MS);
  return performance.now();
}

/** The slaves are in memory: there is nothing to compare with. */
async function confirmAll({ deps }: KernelNode): Promise<void> {
  for (const record of deps.store.records()) await deps.store.put({ ...record, confirmed: true });
}

const updated = async (container: TestContainer): Promise<void> => container.update(DEVICES);

function reloaded({ enter }: NestedSystemd): Promise<void> {
  const [command = 'sh', ...args] = enter;
  const child = spawn(command, [...args, 'systemctl', 'daemon-reload'], { stdio: 'ignore' });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`daemon-reload ended with ${code}`))));
  });
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
