import { ftruncateSync, mkdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { lockFile } from '../kernel/file-lock.ts';

/** An old worker has up to half a minute to end in. */
const RETRY_MS = 250;

/**
 * Resolves when no other process uses the state directory, and none will until this one ends: after a forced deletion of its pod
 * an old worker may still run. `onWait` is told once, with a sentence for people, if that takes time.
 */
export async function lockState(stateDir: string, onWait: (sentence: string) => void): Promise<void> {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const path = join(stateDir, 'lock');
  for (let attempt = 0; ; attempt++) {
    // Stays open for as long as this process runs.
    const fd = lockFile(path);
    if (fd !== undefined) {
      ftruncateSync(fd);
      writeSync(fd, `${process.pid}\n`, 0);
      return;
    }
    if (attempt === 0) onWait(`process ${holderOf(path)} still uses "${stateDir}": waiting until it has ended`);
    await setTimeout(RETRY_MS);
  }
}

const holderOf = (path: string): string => readFileSync(path, 'utf8').trim() || 'that has just started';
