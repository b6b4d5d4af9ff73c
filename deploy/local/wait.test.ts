import { describe, expect, test } from '@jest/globals';
import { sideBySide, until } from './wait.ts';

describe('until()', () => {
  test('answers what the condition answers at last', async () => {
    const answers = [undefined, false, 'now'] as const;
    let asked = 0;
    expect(await until('it', () => answers[asked++], { timeoutMs: 600_000, everyMs: 1 })).toBe('now');
    expect(asked).toBe(3);
  });

  test('throws what it waited for at the deadline', async () => {
    await expect(until('the end', () => false, { timeoutMs: 5, everyMs: 1 })).rejects.toThrow(
      /^Cannot wait for "the end"/,
    );
  });

  test('throws the reason when there is no hope', async () => {
    const waiting = until('it', () => false, { timeoutMs: 600_000, hopeless: () => 'server has ended' });
    await expect(waiting).rejects.toThrow('Cannot wait for "it": server has ended');
  });

  test('throws when it is aborted, also while it sleeps', async () => {
    const abort = new AbortController();
    const waiting = until('it', () => false, { timeoutMs: 600_000, everyMs: 60_000, signal: abort.signal });
    abort.abort(new Error('Interrupted.'));
    await expect(waiting).rejects.toThrow();
  });
});

describe('sideBySide()', () => {
  test('throws the first failure once the others have seen their signal and ended', async () => {
    const ended: string[] = [];
    const patient = async (signal: AbortSignal): Promise<void> => {
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve);
      });
      ended.push('patient');
    };
    await expect(sideBySide(undefined, [patient, async () => Promise.reject(new Error('broken'))])).rejects.toThrow(
      'broken',
    );
    expect(ended).toEqual(['patient']);
  });

  test('passes the caller’s signal on', async () => {
    const abort = new AbortController();
    const running = sideBySide(abort.signal, [(signal) => until('it', () => false, { timeoutMs: 600_000, signal })]);
    abort.abort(new Error('Interrupted.'));
    await expect(running).rejects.toThrow();
  });
});
