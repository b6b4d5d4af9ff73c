import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { setPriority } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { hasCode } from './syscall.ts';

const CHILD = fileURLToPath(new URL('./helper-child.ts', import.meta.url));
/** Small and of one thread as far as Node can be: its heap is for one answer at a time. */
const FLAGS = [
  '--no-warnings',
  '--max-old-space-size=48',
  '--max-semi-space-size=1',
  '--v8-pool-size=0',
  '--single-threaded',
];
/** A container with as many users of a device as there can be processes on a machine stays below this. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** Of nice(1): a tenth of what others get, so that it still gets something on a busy machine. */
const LOW_PRIORITY = 10;

export interface HelperEvents {
  /** It has started. */
  readonly onReady: () => void;
  /** It is gone. After a kill that can be long, where the kernel waits for a tenant. */
  readonly onEnd: () => void;
}

/** A process that does one step at a time, and can be killed at any moment. It ends with this process. */
export class Helper {
  readonly #child: ChildProcess;
  #answer: Buffer[] = [];
  #bytes = 0;
  #waiting: PromiseWithResolvers<string> | undefined;
  readonly #gone = Promise.withResolvers<true>();
  #ended = false;

  constructor({ onReady, onEnd }: HelperEvents) {
    this.#child = spawn(process.execPath, [...FLAGS, CHILD], { stdio: ['pipe', 'pipe', 'inherit'] });
    const end = (why: string): void => {
      if (this.#ended) return;
      this.#ended = true;
      this.#waiting?.reject(new Error(`the helper process ended: ${why}`));
      this.#gone.resolve(true);
      onEnd();
    };
    this.#child.once('error', (err) => end(err.message));
    this.#child.once('exit', (code, signal) => end(String(signal ?? code)));
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stdout?.once('data', () => {
      this.#child.stdout?.on('data', (piece: Buffer) => this.#receive(piece));
      onReady();
    });
    // It keeps no process from ending; what waits for an answer has a deadline, which does.
    this.#child.unref();
    for (const stream of [this.#child.stdin, this.#child.stdout]) if (stream instanceof Socket) stream.unref();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** How long it has stood in line for a processor in all, by /proc/PID/schedstat; 0 where the kernel does not count that. */
  get queuedMs(): number {
    try {
      // Documentation/scheduler/sched-stats.rst: time on a processor, time in line for one, both in nanoseconds.
      const [, queued = '0'] = readFileSync(`/proc/${this.#child.pid}/schedstat`, 'latin1').split(' ');
      return Number(queued) / 1e6;
    } catch {
      return 0;
    }
  }

  /** Resolves to the answer's line. Rejects when the process ends before. One at a time. */
  async ask(line: string): Promise<string> {
    if (this.#ended) throw new Error('the helper process has ended');
    this.#waiting = Promise.withResolvers();
    this.#child.stdin?.write(`${line}\n`);
    try {
      return await this.#waiting.promise;
    } finally {
      this.#waiting = undefined;
    }
  }

  #receive(piece: Buffer): void {
    this.#answer.push(piece);
    this.#bytes += piece.length;
    const isWhole = piece.at(-1) === 0x0a;
    if (!isWhole && this.#bytes <= MAX_ANSWER_BYTES) return;
    const answer = Buffer.concat(this.#answer).toString();
    this.#answer = [];
    this.#bytes = 0;
    if (isWhole) this.#waiting?.resolve(answer);
    else this.kill('its answer is too long');
  }

  /** Whether it is gone by then. */
  async isGoneWithin(ms: number): Promise<boolean> {
    const over = new AbortController();
    try {
      return await Promise.race([this.#gone.promise, delay(ms, false, { signal: over.signal })]);
    } finally {
      over.abort();
    }
  }

  /** Lets everything else go first. */
  slowDown(): void {
    this.#setPriority(LOW_PRIORITY);
  }

  speedUp(): void {
    this.#setPriority(0);
  }

  #setPriority(priority: number): void {
    try {
      if (this.#child.pid !== undefined) setPriority(this.#child.pid, priority);
    } catch (err) {
      // It has just ended, or this is not root: then it is only less fair.
      if (!hasCode(err, 'ERR_SYSTEM_ERROR')) throw err;
    }
  }

  /** Ends it after its step. */
  close(): void {
    this.#child.stdin?.end();
  }

  /** Whoever waits for its answer waits no longer, also when it is not gone for a while. */
  kill(why: string): void {
    this.#waiting?.reject(new Error(why));
    this.#child.kill('SIGKILL');
  }
}
