import { fail } from '../../contract/failures.ts';
import { Locks } from '../state/locks.ts';
import { Helper } from './helper.ts';

export interface HelperLimits {
  /** Helpers that start, are free or are at quick steps, always: so there is one for whoever comes next. */
  readonly ready: number;
  /** Helpers of all kinds, so that no number of slow containers takes all memory. */
  readonly most: number;
  /** A step that takes longer is slow, and another helper takes the place of its own. */
  readonly slowMs: number;
  /** Whoever waits longer, while no step ends, gets a new helper, or that of the slowest step. */
  readonly waitMs: number;
  /**
   * A step that takes longer is given up, and its helper killed. Of both times, standing in line for a processor counts only beyond
   * three times as long.
   */
  readonly deadlineMs: number;
  /** How long a helper that was killed may take to end before it counts as stuck. */
  readonly killMs: number;
  /** Helpers that are free and more than `ready` end after this time. */
  readonly spareMs: number;
}

/** A helper takes 11 MiB of its own; the DaemonSet's limit is 512 MiB, of which the node worker takes 120. */
const LIMITS: HelperLimits = {
  ready: 2,
  most: 24,
  slowMs: 100,
  waitMs: 25,
  deadlineMs: 5_000,
  killMs: 1_000,
  spareMs: 10_000,
};

interface Step {
  readonly containerId: string;
  readonly helper: Helper;
  readonly sinceMs: number;
  /** `queuedMs` of its helper at the beginning. */
  readonly queuedMs: number;
  slow: boolean;
}

interface Waiting {
  readonly containerId: string;
  readonly helper: PromiseWithResolvers<Helper>;
}

/** How many deadlines a helper may stand in line for a processor. */
const MAX_QUEUED = 3;
/** How often is looked at one that does. */
const MIN_LOOK_MS = 10;
/** Of so many containers the last step is remembered; a node has a few hundred. */
const REMEMBERED = 4_096;

/**
 * Helper processes, which do what a tenant can make slow or endless. One container has one of them at a time, and each step a
 * deadline; a helper that is late is killed and replaced. Slow steps run with a low priority, keep no others waiting,
 * and give way when helpers run out. Who was quick the last time comes first, and one helper is kept for them alone.
 */
export class HelperPool {
  readonly #limits: HelperLimits;
  readonly #onKill: (containerId: string, why: string) => void;
  readonly #turns = new Locks();
  /** All that the kernel still has. */
  readonly #all = new Set<Helper>();
  /** Not ready yet. */
  readonly #starting = new Set<Helper>();
  readonly #idle: Helper[] = [];
  readonly #steps = new Set<Step>();
  readonly #queue: Waiting[] = [];
  /** Helpers that were killed and are not gone, by container: the kernel keeps them waiting for the tenant. */
  readonly #stuck = new Map<Helper, string>();
  /** How long the last step for each container took: `Infinity` when it was given up. The one that was asked longest ago comes first. */
  readonly #lastMs = new Map<string, number>();

  constructor(
    onKill: (containerId: string, why: string) => void = () => undefined,
    limits: Partial<HelperLimits> = {},
  ) {
    this.#onKill = onKill;
    this.#limits = { ...LIMITS, ...limits };
  }

  /** Process ids of all helpers there are. */
  get pids(): readonly number[] {
    return [...this.#all].flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  /**
   * Whether the last step for a container was very slow or was given up: ten times as long as a slow one, so that nobody is taken for slow
   * because the machine is busy.
   */
  isSlow(containerId: string): boolean {
    return this.#costOf(containerId) > 10 * this.#limits.slowMs;
  }

  /** Whether a helper that was killed at a step for it is not gone. */
  isStuck(containerId: string): boolean {
    return [...this.#stuck.values()].includes(containerId);
  }

  /** Starts helpers where there are too few. */
  start(): void {
    while (this.#all.size < Math.min(this.#slowOnes + this.#limits.ready, this.#limits.most)) this.#make();
  }

  /** Resolves to the line that a helper answers. Steps for one container run one after the other. Throws `ContainerStuck`. */
  async ask(containerId: string, line: string, deadlineMs = this.#limits.deadlineMs): Promise<string> {
    return this.#turns.run([containerId], () => this.#ask(containerId, line, deadlineMs));
  }

  async #ask(containerId: string, line: string, deadlineMs: number): Promise<string> {
    const helper = await this.#take(containerId);
    const step: Step = { containerId, helper, sinceMs: performance.now(), queuedMs: helper.queuedMs, slow: false };
    this.#steps.add(step);
    const slow = after(step, this.#limits.slowMs, () => this.#becomeSlow(step));
    const late = after(step, deadlineMs, () => this.#kill(step, `not done within ${deadlineMs / 1000} s`));
    try {
      return await helper.ask(line);
    } catch (err) {
      throw stuck(containerId, err);
    } finally {
      slow.stop();
      late.stop();
      this.#steps.delete(step);
      this.#judge(step);
      this.#release(step);
    }
  }

  #judge({ containerId, helper, sinceMs }: Step): void {
    if (!this.#stuck.has(helper)) this.#remember(containerId, performance.now() - sinceMs);
  }

  #remember(containerId: string, tookMs: number): void {
    this.#lastMs.delete(containerId);
    this.#lastMs.set(containerId, tookMs);
    const [oldest] = this.#lastMs.keys();
    if (this.#lastMs.size > REMEMBERED && oldest !== undefined) this.#lastMs.delete(oldest);
  }

  /** What its next step may take, in milliseconds. A container that nobody knows may be a slow one. */
  #costOf(containerId: string): number {
    return this.#lastMs.get(containerId) ?? this.#limits.slowMs;
  }

  /** Whether it may have one of this many free helpers. */
  #mayHave(containerId: string, free: number): boolean {
    const kept = this.#limits.ready > 1 && this.#costOf(containerId) >= this.#limits.slowMs ? 1 : 0;
    return free > kept;
  }

  async #take(containerId: string): Promise<Helper> {
    this.start();
    await this.#refuseStuck(containerId);
    const idle = this.#mayHave(containerId, this.#idle.length) ? this.#idle.shift() : undefined;
    if (idle !== undefined) return idle;
    const waiting: Waiting = { containerId, helper: Promise.withResolvers() };
    this.#queue.push(waiting);
    const more = setInterval(() => this.#makeRoom(containerId), this.#limits.waitMs);
    // A new one starts as slowly as the machine is busy.
    const late = setTimeout(() => this.#giveUp(waiting), (1 + MAX_QUEUED) * this.#limits.deadlineMs);
    try {
      return await waiting.helper.promise;
    } finally {
      clearInterval(more);
      clearTimeout(late);
    }
  }

  /** Most end at once when they are killed. */
  async #refuseStuck(containerId: string): Promise<void> {
    const [helper] = [...this.#stuck].find(([, id]) => id === containerId) ?? [];
    if (helper === undefined || (await helper.isGoneWithin(this.#limits.killMs))) return;
    throw stuck(containerId, new Error('an earlier look at it still waits'));
  }

  /** For who has waited: one helper more, or, unless it is a slow container itself, that of the slowest step. */
  #makeRoom(containerId: string): void {
    this.start();
    if (!this.#isBlocked) return;
    if (this.#all.size < this.#limits.most) {
      if (this.#starting.size < this.#queue.length) this.#make();
    } else if (!this.isSlow(containerId)) {
      const [slowest] = [...this.#steps].filter(({ slow }) => slow);
      if (slowest !== undefined) this.#kill(slowest, 'too many containers are slow at once');
    }
  }

  /** No step was begun for a while. Many quick ones after one another need no more helpers. */
  get #isBlocked(): boolean {
    const since = performance.now() - this.#limits.waitMs;
    return this.#steps.size > 0 && [...this.#steps].every(({ sinceMs }) => sinceMs < since);
  }

  #giveUp(waiting: Waiting): void {
    this.#queue.splice(this.#queue.indexOf(waiting), 1);
    waiting.helper.reject(stuck(waiting.containerId, new Error('no helper process was free')));
  }

  #becomeSlow(step: Step): void {
    step.slow = true;
    step.helper.slowDown();
    if (this.#slowOnes > this.#limits.most - this.#limits.ready)
      this.#kill(step, 'too many containers are slow at once');
    this.start();
  }

  #kill({ containerId, helper }: Step, why: string): void {
    this.#stuck.set(helper, containerId);
    this.#remember(containerId, Infinity);
    helper.kill(why);
    this.#onKill(containerId, why);
  }

  #release({ helper, slow }: Step): void {
    if (helper.ended || this.#stuck.has(helper)) return;
    if (slow) helper.speedUp();
    this.#give(helper);
  }

  /** To the quickest; of those to who has waited longest. */
  #give(helper: Helper): void {
    const [first] = this.#queue.toSorted((a, b) => this.#costOf(a.containerId) - this.#costOf(b.containerId));
    if (first === undefined || !this.#mayHave(first.containerId, this.#idle.length + 1)) {
      this.#idle.push(helper);
      if (this.#idle.length > this.#limits.ready) setTimeout(() => this.#trim(), this.#limits.spareMs).unref();
      return;
    }
    this.#queue.splice(this.#queue.indexOf(first), 1);
    first.helper.resolve(helper);
  }

  #trim(): void {
    while (this.#idle.length > this.#limits.ready) this.#idle.shift()?.close();
  }

  /** Those at slow steps, among them those that were killed and are not gone. */
  get #slowOnes(): number {
    return [...this.#steps].filter(({ slow, helper }) => slow && !this.#stuck.has(helper)).length + this.#stuck.size;
  }

  #make(): void {
    const helper: Helper = new Helper({
      onReady: () => {
        this.#starting.delete(helper);
        this.#give(helper);
      },
      onEnd: () => {
        for (const place of [this.#all, this.#starting, this.#stuck]) place.delete(helper);
        const index = this.#idle.indexOf(helper);
        if (index >= 0) this.#idle.splice(index, 1);
      },
    });
    this.#all.add(helper);
    this.#starting.add(helper);
  }
}

/** Does something when a step has had its time. That a machine is busy, and slow steps come last on it, is not the container's fault. */
function after({ helper, sinceMs, queuedMs }: Step, timeMs: number, act: () => void): { readonly stop: () => void } {
  let timer: NodeJS.Timeout;
  const look = (): void => {
    const leftMs = timeLeftOf(timeMs, performance.now() - sinceMs, helper.queuedMs - queuedMs);
    if (leftMs <= 0) act();
    else timer = setTimeout(look, Math.max(leftMs, MIN_LOOK_MS));
  };
  timer = setTimeout(look, timeMs);
  return { stop: () => clearTimeout(timer) };
}

/** Of a step, in milliseconds, where its helper has stood in line for a processor for `queuedMs` of the time that it took. */
export const timeLeftOf = (deadlineMs: number, tookMs: number, queuedMs: number): number =>
  deadlineMs + Math.min(queuedMs, MAX_QUEUED * deadlineMs) - tookMs;

function stuck(containerId: string, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  const message = `Cannot look into container "${containerId.slice(0, 12)}": its files or processes do not answer (${why})`;
  return fail('ContainerStuck', message, cause);
}
