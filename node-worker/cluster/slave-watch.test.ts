import { describe, expect, test } from '@jest/globals';
import { eventually } from '../../test/workflows/outcome.ts';
import type { PodView } from './pod-view.ts';
import type { SlaveSource } from './pods.ts';
import { SlaveWatch } from './slave-watch.ts';

function pod(uid: string, end?: string): PodView {
  return {
    namespace: 'd',
    name: `pod-${uid}`,
    uid,
    nodeName: 'n1',
    ownerUids: [],
    running: true,
    labels: {},
    annotations: {},
    claims: [],
    mount: 'm',
    end,
  };
}

/** kube-apiserver with the slaves of one node. */
class MemorySource implements SlaveSource {
  pods: PodView[] = [];
  lists = 0;
  failing = false;
  #watching: { onChange: (pod: PodView, gone: boolean) => void; end: () => void } | undefined;

  async list() {
    this.lists++;
    if (this.failing) throw new Error('away');
    return { pods: this.pods, resourceVersion: '1' };
  }

  watch(_version: string, onChange: (pod: PodView, gone: boolean) => void, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#watching = { onChange, end: resolve };
      signal.addEventListener('abort', () => resolve());
    });
  }

  change(pod: PodView, gone = false): void {
    this.#watching?.onChange(pod, gone);
  }

  breakWatch(): void {
    this.#watching?.end();
    this.#watching = undefined;
  }

  get watched(): boolean {
    return this.#watching !== undefined;
  }
}

function watchOf(source: MemorySource, periodMs = 60_000) {
  const ended: string[] = [];
  const listed: string[][] = [];
  const errors: unknown[] = [];
  const watch = new SlaveWatch({
    source,
    onEnd: (uid, why) => ended.push(`${uid}: ${why}`),
    onList: (uids) => listed.push([...uids]),
    onChange: () => undefined,
    onError: (err) => errors.push(err),
    retryMs: 1,
    periodMs,
  });
  watch.start();
  return { watch, ended, listed, errors };
}

describe('SlaveWatch', () => {
  test('tells of ends that it finds in a list and in changes', async () => {
    const source = new MemorySource();
    source.pods = [pod('a'), pod('b', 'it has failed')];
    const { watch, ended, listed } = watchOf(source);
    await eventually(() => source.watched);
    source.change(pod('a', 'it is being deleted'));
    source.change(pod('c'));
    source.change(pod('c'), true);
    expect(ended).toEqual(['b: it has failed', 'a: it is being deleted', 'c: it is gone']);
    expect(listed).toEqual([['a', 'b']]);
    expect(watch.endOf('a')).toBe('it is being deleted');
    expect(watch.endOf('c')).toBe('it is gone');
    await watch.stop();
  });

  test('tells when a slave was last seen to begin to run', async () => {
    const source = new MemorySource();
    source.pods = [{ ...pod('a'), running: false }];
    const { watch } = watchOf(source);
    await eventually(() => source.watched);
    expect(watch.lastStartMs).toBe(0);
    const before = Date.now();
    source.change(pod('a'));
    const { lastStartMs } = watch;
    expect(lastStartMs).toBeGreaterThanOrEqual(before);
    await eventually(() => Date.now() > lastStartMs);
    source.change(pod('a'));
    expect(watch.lastStartMs).toBe(lastStartMs);
    await watch.stop();
  });

  test('knows nothing of a slave it has not seen', async () => {
    const source = new MemorySource();
    const { watch } = watchOf(source);
    await eventually(() => watch.synced);
    expect(watch.endOf('x')).toBeUndefined();
    await watch.stop();
  });

  test('lists again when the watch ends, and after its period', async () => {
    const source = new MemorySource();
    const { watch } = watchOf(source, 20);
    await eventually(() => source.watched);
    source.breakWatch();
    await eventually(() => source.lists >= 3);
    await watch.stop();
  });

  test('is not synced while kube-apiserver is away, and comes back', async () => {
    const source = new MemorySource();
    source.failing = true;
    const { watch, errors } = watchOf(source);
    await eventually(() => errors.length > 1);
    expect(watch.synced).toBe(false);
    source.failing = false;
    await eventually(() => watch.synced);
    await watch.stop();
  });
});
