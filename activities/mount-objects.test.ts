import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { MemoryCluster } from '../test/workflows/memory-cluster.ts';
import { mountObjects } from './mount-objects.ts';

afterEach(() => {
  jest.useRealTimers();
});

describe('mountObjects()', () => {
  test('gives up on a kube-apiserver that does not answer', async () => {
    jest.useFakeTimers();
    const cluster = new MemoryCluster();
    cluster.listMounts = () => new Promise(() => undefined);
    const answer = mountObjects({ cluster });
    await jest.advanceTimersByTimeAsync(15_000);
    expect(await answer).toEqual({ problem: 'it does not list devicemounts within 15 s' });
  });
});
