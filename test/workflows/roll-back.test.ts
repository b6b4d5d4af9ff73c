import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DefaultLogger } from '@temporalio/worker';
import { SIGNALS } from '../../contract/workflows.ts';
import { buildWorkflowBundle } from '../../workflows/bundle.ts';
import { Harness } from './harness.ts';
import type { MemoryNode } from './memory-node.ts';
import { eventually } from './outcome.ts';
import { mountRequest, signed, unmountRequest } from './requests.ts';

const codeOf = (release: 'next' | 'prepared'): Promise<string> =>
  buildWorkflowBundle(
    new DefaultLogger('ERROR', () => undefined),
    join(import.meta.dirname, 'releases', `${release}.ts`),
  );

let harness: Harness;
let next: string;
let prepared: string;
beforeAll(async () => {
  next = await codeOf('next');
  prepared = await codeOf('prepared');
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/** Replaces the control worker by one with other workflows. */
async function replaceBy(code?: string): Promise<void> {
  await harness.stopControl();
  await harness.startControl(code);
}

const attemptsOf = async (mount: string): Promise<number> =>
  (await harness.handle(mount).describe()).raw.pendingWorkflowTask?.attempt ?? 0;

/** A mount that the next release has begun. */
async function mountOfNext(pod: string) {
  const node = await harness.addNode(pod, 1);
  await replaceBy(next);
  expect((await harness.mount(signed(mountRequest(pod)))).status.phase).toBe('Mounted');
  return node;
}

async function nothingLeft(pod: string, node: MemoryNode): Promise<void> {
  await harness.handle(`${pod}-m`).result();
  expect(harness.leftOf(pod, node)).toEqual([]);
}

describe('a roll-back of the control worker', () => {
  test('to a release that knows the way of the newer one goes on with its mounts', async () => {
    const node = await mountOfNext('known');
    await replaceBy(prepared);
    expect(node.attached.size).toBe(1);
    await harness.unmount(signed(unmountRequest('known')));
    await nothingLeft('known', node);
  });

  test('to one that does not leaves its mounts as they are, until a release is there that does', async () => {
    const node = await mountOfNext('unknown');
    await replaceBy();
    // Anything that it would have to do something for.
    await harness.handle('unknown-m').signal(SIGNALS.driftHealed, { at: '2026-01-01T00:00:00Z', what: '/dev/fuse' });
    await eventually(async () => (await attemptsOf('unknown-m')) > 1);
    expect(node.attached.size).toBe(1);
    await replaceBy(prepared);
    await harness.unmount(signed(unmountRequest('unknown')));
    await nothingLeft('unknown', node);
  });

  test('lets the release before make mounts that today’s code goes on with', async () => {
    const node = await harness.addNode('old', 1);
    await replaceBy(prepared);
    await harness.mount(signed(mountRequest('old')));
    await replaceBy();
    await harness.unmount(signed(unmountRequest('old')));
    await nothingLeft('old', node);
  });
});
