import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { NodeTaskWorker } from '../../node-worker/temporal.ts';
import { Harness } from './harness.ts';
import type { MemoryNode } from './memory-node.ts';
import { eventually } from './outcome.ts';
import { FUSE, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/** As the process of a node has it. */
function nodeWorker(name: string, node: MemoryNode): NodeTaskWorker {
  const worker = new NodeTaskWorker({
    access: harness.access,
    identity: async () => harness.identity,
    node: name,
    activities: node.steps,
    log: pino({ enabled: false }),
  });
  worker.start();
  return worker;
}

describe('a mount', () => {
  test('ends mounted when Temporal is killed in the middle of it and comes back', async () => {
    const node = await harness.addNode('crash', 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    node.slow = promise;
    const request = signed(mountRequest('crash'));
    const first = harness.mount(request).catch(() => undefined);
    await eventually(() => node.attached.size === 1);
    await harness.server.kill();
    resolve();
    await harness.server.restart();
    const mount = await eventually(() => harness.mount(request).catch(() => undefined));
    expect(mount.status).toMatchObject({ phase: 'Mounted', devices: [{ resource: FUSE }] });
    expect(harness.cluster.slaves(NAMESPACE)).toHaveLength(1);

    await first;

    await harness.server.kill();
    await harness.server.restart();
    await eventually(() => harness.unmount(signed(unmountRequest('crash'))).catch(() => undefined));
    expect(node.attached.size).toBe(0);
    await eventually(() => harness.cluster.slaves(NAMESPACE).length === 0);
  });

  test.each([
    ['ends with', 'ends', 1],
    ['is handed over by', 'handed', 2],
  ])('%s a node worker that stops in the middle of its attach', async (_name, pod, attaches) => {
    const node = await harness.addNode(pod, 1, false);
    const { promise, resolve } = Promise.withResolvers<void>();
    node.slow = promise;
    const first = nodeWorker(pod, node);
    const mounting = harness.mount(signed(mountRequest(pod)));
    await eventually(() => node.attached.size === 1);
    const stopped = first.stop();
    if (attaches === 1) resolve();
    await stopped;
    resolve();
    const second = nodeWorker(pod, node);
    expect((await mounting).status.phase).toBe('Mounted');
    expect(node.begun).toBe(attaches);
    await harness.unmount(signed(unmountRequest(pod)));
    expect(node.attached.size).toBe(0);
    await second.stop();
  });

  test('goes on when the control worker is replaced in the middle of it', async () => {
    const node = await harness.addNode('rollout', 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    node.slow = promise;
    const mounting = harness.mount(signed(mountRequest('rollout')));
    await eventually(() => node.attached.size === 1);
    await harness.stopControl();
    resolve();
    await harness.startControl();
    expect((await mounting).status.phase).toBe('Mounted');
  });
});
