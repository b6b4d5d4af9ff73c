import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { elapsed, Progress } from './progress.ts';

/** What is written in `ms`, from a step that takes `endsMs`. */
async function writtenIn(ms: number, endsMs: number, terminal: { isTTY?: true; columns?: number }): Promise<string> {
  const out = Object.assign(new PassThrough({ encoding: 'utf8' }), terminal) as unknown as NodeJS.WriteStream;
  const body = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, endsMs));
  const done = new Progress(out).step('build etcd', body, () => '43 %');
  await jest.advanceTimersByTimeAsync(ms);
  if (ms >= endsMs) await done;
  return String(out.read() ?? '');
}

describe('Progress', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  test('step() moves one line each second on a terminal, with the share done', async () => {
    const text = await writtenIn(2_500, 2_500, { isTTY: true, columns: 80 });
    const anew = '\r\u001b[K';
    expect(text).toBe(`${anew}… 43 % · build etcd  1.0 s${anew}… 43 % · build etcd  2.0 s${anew}✓ build etcd  2.5 s\n`);
  });

  test('step() cuts the moving line off at the edge of the terminal', async () => {
    expect(await writtenIn(1_500, 10_000, { isTTY: true, columns: 12 })).toBe('\r\u001b[K… 43 % · bu');
  });

  test('step() gives a sign of life each minute elsewhere, and a line at its end', async () => {
    expect(await writtenIn(150_000, 150_000, {})).toBe(
      '… 43 % · build etcd  1 min 00 s\n… 43 % · build etcd  2 min 00 s\n✓ build etcd  2 min 30 s\n',
    );
  });
});

describe('elapsed()', () => {
  test.each([
    [0, '0 ms'],
    [340.4, '340 ms'],
    [12_345, '12.3 s'],
    [59_940, '59.9 s'],
    [59_960, '1 min 00 s'],
    [425_000, '7 min 05 s'],
  ])('writes %p ms', (ms, text) => {
    expect(elapsed(ms)).toBe(text);
  });
});
