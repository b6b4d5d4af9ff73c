import { expect, test } from '@jest/globals';
import { MemoryEngine } from '../../test/node-worker/memory-engine.ts';
import { OpenHandles } from './open-handles.ts';

const LATER_MS = 10_000;

const C1 = { containerId: 'c1' };

test('OpenHandles.of() finds a container again that was not found before, after a while', async () => {
  const engine = new MemoryEngine();
  const handles = new OpenHandles(engine);
  expect(await handles.of(C1, 0)).toBeUndefined();
  engine.containers.set('c1', new Set());
  expect(await handles.of(C1, LATER_MS - 1)).toBeUndefined();
  expect(await handles.of(C1, LATER_MS)).toBeDefined();
});

test('OpenHandles.of() opens a container once, and closes it when it has ended or is not wanted', async () => {
  const engine = new MemoryEngine();
  const handles = new OpenHandles(engine);
  for (const id of ['c1', 'c2']) engine.containers.set(id, new Set());
  expect(await handles.of(C1)).toBe(await handles.of(C1));
  await handles.of({ containerId: 'c2' });
  expect(engine.opened).toBe(2);
  engine.containers.delete('c1');
  expect(await handles.of(C1)).toBeUndefined();
  expect(engine.opened).toBe(1);
  handles.keepOnly(new Set());
  expect(engine.opened).toBe(0);
});
