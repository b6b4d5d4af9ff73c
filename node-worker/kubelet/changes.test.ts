import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from '@jest/globals';
import { Changes } from './changes.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const { signal } = new AbortController();

function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

describe('Changes.next()', () => {
  test('wakes all who wait, and is not waited for when something has changed since', async () => {
    const changes = new Changes([], () => undefined);
    const seen = changes.count;
    const waiting = [changes.next(seen, 3_600_000, signal), changes.next(seen, 3_600_000, signal)];
    changes.notify();
    await Promise.all(waiting);
    await changes.next(seen, 3_600_000, signal);
  });

  test('keeps nothing of those who have waited in vain', async () => {
    const changes = new Changes([], () => undefined);
    const waitInVain = async (): Promise<void> => {
      for (let turn = 0; turn < 100; turn++) {
        await Promise.all(Array.from({ length: 100 }, () => changes.next(changes.count, 1, signal)));
      }
    };
    await waitInVain();
    const before = heapUsed();
    await waitInVain();
    expect(heapUsed() - before).toBeLessThan(500_000);
  });

  test('rejects with the reason of its signal', async () => {
    const changes = new Changes([], () => undefined);
    const stop = new AbortController();
    const waiting = changes.next(changes.count, 3_600_000, stop.signal);
    stop.abort(new Error('stopped'));
    await expect(waiting).rejects.toThrow('stopped');
  });
});
