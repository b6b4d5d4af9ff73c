import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type DeviceState, deviceState } from '../device-state.ts';
import { failureIn } from '../kube.ts';
import { productReady } from '../nodes.ts';
import { slavesGone, slavesOf } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { Temporal } from '../temporal.ts';
import { until } from '../until.ts';
import { type Boundary, isMount, type Pods, prepare, reach, startPods } from './boundaries.ts';
import { mountAgain, putMount, unmountAgain } from './caller.ts';
import { Held } from './held.ts';
import { PARTS, type Part } from './part.ts';
import { kill, type Processes, processesOfProduct, replaced, revive } from './parts.ts';

const temporal = new Temporal();
const held = new Held();
let pods: Pods;
let before: Readonly<Record<string, DeviceState>>;
let processes: Processes;

const each = <T>(action: (pod: string, boundary: Boundary) => Promise<T>): Promise<T[]> =>
  Promise.all(Object.entries(pods).map(([boundary, pod]) => action(pod, boundary as Boundary)));

async function prepareAll(): Promise<void> {
  pods = await startPods();
  before = Object.fromEntries(await each(async (pod) => [pod, await deviceState(pod)] as const));
  await prepare(pods);
  processes = await processesOfProduct();
}

async function clear(): Promise<void> {
  held.release();
  for (const part of PARTS) revive(part);
  await productReady();
  await removeTargets(Object.values(pods));
}

/** Mounted or fully undone, and the same request again is answered by that one mount. */
async function expectOneAnswer(pod: string): Promise<void> {
  const mount = await mountAgain(pod);
  const again = await until(`an answer about ${pod}`, () => putMount(pod));
  if (mount.status.phase === 'Mounted') {
    expect(again).toMatchObject({ status: 200, body: { metadata: { uid: mount.metadata.uid } } });
    expect(await slavesOf(pod)).toEqual(mount.status.slaves.map(({ name }) => name));
    expect((await deviceState(pod)).nodes.filter((line) => line.endsWith(' /dev/kmsg'))).toHaveLength(1);
    return;
  }
  expect(failureIn(again)).toBe(mount.status.reason);
  await slavesGone(pod);
  expect(await deviceState(pod)).toEqual(before[pod]);
}

async function expectUnmounted(pod: string): Promise<void> {
  await unmountAgain(pod);
  await slavesGone(pod);
  expect(await deviceState(pod)).toEqual(before[pod]);
}

/** Defines the tests that bring mounts and unmounts to every boundary between two steps, and kill one of `parts` there. */
export function killTable(parts: readonly Part[]): void {
  beforeAll(() => productReady());
  beforeEach(prepareAll);
  afterEach(clear);
  afterAll(async () => {
    await temporal.close();
    await expectNoPods();
  });

  test.each(parts)('killing every %s leaves mounts made or undone, and unmounts done', async (part) => {
    const requests = await reach(pods, temporal, processes, held);
    await kill(part, processes);
    held.release();
    revive(part);
    await Promise.all(requests);
    await each((pod, boundary) => (isMount(boundary) ? expectOneAnswer(pod) : expectUnmounted(pod)));
    await replaced(part, processes);
    await productReady();
    await each((pod, boundary) => (isMount(boundary) ? expectUnmounted(pod) : Promise.resolve()));
  });
}
