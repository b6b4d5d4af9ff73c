import { getEventListeners } from 'node:events';
import { expect, test } from '@jest/globals';
import { pause } from './pause.ts';

test('pause() ends when its signal is aborted, and at once when it is already', async () => {
  const stop = new AbortController();
  const pausing = pause(3_600_000, stop.signal);
  stop.abort();
  await pausing;
  await pause(3_600_000, stop.signal);
});

test('pause() leaves nothing on the signal', async () => {
  const { signal } = new AbortController();
  const pausing = pause(1, signal);
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  await pausing;
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});
