import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Harness } from './harness.ts';
import { eventually } from './outcome.ts';
import { begin } from './queue.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

const QUEUED = 2_000;
/** Unmounts that are measured, before the others wait and while they do. */
const SAMPLES = 5;
const AT_ONCE = 100;
const QUEUES = { queue: true, deadlineSeconds: 3_600 } as const;

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/** How long the slowest of some unmounts takes, until the container has lost the device and the device is free. */
async function slowestUnmountMs(round: string): Promise<number> {
  let slowest = 0;
  for (let sample = 0; sample < SAMPLES; sample++) {
    const name = `${round}-${sample}`;
    await harness.mount(signed(mountRequest('other', { name, deadlineSeconds: 300 })));
    const begun = performance.now();
    await harness.unmount(signed(unmountRequest('other', { mount: name })));
    await harness.handle(name).result();
    slowest = Math.max(slowest, performance.now() - begun);
  }
  return slowest;
}

test(`${QUEUED} mounts in the queue delay no unmount by more than 1 s`, async () => {
  await harness.addNode('full', 0);
  await harness.addNode('other', 1);
  const alone = await slowestUnmountMs('alone');
  const names = Array.from({ length: QUEUED }, (_, index) => `queued-${index}`);
  for (let first = 0; first < QUEUED; first += AT_ONCE) {
    const some = names.slice(first, first + AT_ONCE);
    await Promise.all(some.map((name) => begin(harness, signed(mountRequest('full', { name, ...QUEUES })))));
    await eventually(() => harness.cluster.slaves(NAMESPACE).length === first + some.length);
  }
  const among = await slowestUnmountMs('among');
  process.stdout.write(`slowest unmount: alone ${Math.round(alone)} ms, with the queue ${Math.round(among)} ms\n`);
  expect(among - alone).toBeLessThan(1_000);
}, 900_000);
