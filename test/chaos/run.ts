import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { CLUSTER, NODES } from '../e2e/cluster.ts';
import { loadStaticImage } from '../e2e/opener/image.ts';
import { FUSE } from '../e2e/pods.ts';
import { Temporal } from '../e2e/temporal.ts';
import { until } from '../e2e/until.ts';
import { brokenAnswers } from './answers.ts';
import { Caller } from './calls.ts';
import {
  brokenMounts,
  brokenPoliteness,
  brokenQuiet,
  brokenRefusals,
  type Finding,
  MOUNTED_MS,
  slowCalls,
} from './checks.ts';
import { Clients } from './clients.ts';
import { now } from './clock.ts';
import { Frozen } from './frozen.ts';
import { History } from './history.ts';
import { Keeper } from './keeper.ts';
import { NodeWorkerWatch } from './node-worker-watch.ts';
import { judgedOverlaps } from './owners.ts';
import { Random } from './random.ts';
import { reportOf } from './report.ts';
import { rest, whole } from './rest/rest.ts';
import { scheduleOf, wordsOf } from './schedule.ts';
import { Striker } from './strike.ts';
import { TargetPods } from './targets.ts';
import { Vendors } from './vendors.ts';
import type { Overlap } from './witness/overlap.ts';
import type { Run } from './witness/runs.ts';

/** How many faults lie between two looks at the whole cluster at rest. */
const FAULTS_TO_REST = 100;
const WITNESS = join(import.meta.dirname, 'witness', 'witness.c');

export interface ChaosOptions {
  readonly faults: number;
  readonly seed: number;
  readonly mutation?: string;
  /** For the history and what the witnesses write; emptied first. */
  readonly folder: string;
  /** Ends it early, with everything cleaned up. */
  readonly signal: AbortSignal;
}

/** Everything of one run. */
class Chaos {
  readonly #options: ChaosOptions;
  readonly #history: History;
  readonly #temporal = new Temporal();
  readonly #targets: TargetPods;
  readonly #keeper: Keeper;
  readonly #frozen = new Frozen();
  readonly #watch: NodeWorkerWatch;
  readonly #vendors = new Vendors();
  readonly #clients: Clients;
  readonly #holding = new Set<Promise<void>>();
  readonly #beganMs = now();

  constructor(options: ChaosOptions) {
    this.#options = options;
    const { folder, seed } = options;
    this.#history = new History(join(folder, 'history.jsonl'));
    this.#targets = new TargetPods(join(folder, 'witness'));
    const ofNodes = NODES.flatMap(({ containerd, kubelet }) => [containerd, kubelet]);
    this.#keeper = new Keeper([...Object.values(CLUSTER.servers), ...ofNodes]);
    const names = NODES.map(({ name }) => name);
    this.#watch = new NodeWorkerWatch(this.#history, CLUSTER.paths.root, names);
    this.#clients = new Clients({
      nodes: names,
      random: new Random(seed).for('clients'),
      caller: new Caller(this.#history, this.#temporal.client),
      history: this.#history,
      temporal: this.#temporal,
      targets: this.#targets,
    });
  }

  async run(): Promise<boolean> {
    try {
      await this.#begin();
      await this.#strikeAll();
      // A mistake that was made on purpose has been found.
      if (this.#options.mutation === undefined || !this.#isKnownWrong()) await this.#end();
    } finally {
      await this.#cleanUp();
    }
    return !this.#isKnownWrong();
  }

  #isKnownWrong(): boolean {
    return this.#history.of('violation').length > 0;
  }

  async #begin(): Promise<void> {
    const { seed, faults, mutation } = this.#options;
    this.#history.add({ type: 'begin', seed, faults, ...(mutation !== undefined && { mutation }) });
    await whole();
    const image = await loadStaticImage(NODES, WITNESS, ['/witness']);
    await this.#vendors.start();
    this.#keeper.start();
    this.#watch.start();
    await this.#clients.begin(image);
  }

  /** The faults of the seed, one after the other, until enough have hit something or something is wrong. */
  async #strikeAll(): Promise<void> {
    const { seed, faults, signal } = this.#options;
    const striker = new Striker(this.#keeper, this.#frozen);
    const schedule = scheduleOf(
      new Random(seed).for('faults'),
      NODES.map(({ name }) => name),
    );
    let hits = 0;
    for (const fault of schedule) {
      if (hits === faults || signal.aborted || this.#isWrong()) return;
      await pause(fault.afterMs);
      const atMs = now();
      const { hit, pod, release } = await striker.strike(fault);
      this.#history.add({
        type: 'fault',
        fault,
        atMs,
        ...(hit !== undefined && { hit }),
        ...(pod !== undefined && { pod }),
      });
      console.log(`${this.#clock()} ${wordsOf(fault)}: ${hit ?? 'nothing there'}`);
      if (release !== undefined) this.#releaseLater(fault.index, fault.holdMs, release);
      if (hit === undefined) continue;
      hits++;
      if (hits % FAULTS_TO_REST !== 0 || hits === faults) continue;
      await this.#rest(`after ${hits} faults`);
      this.#clients.gate.open();
    }
  }

  #releaseLater(fault: number, holdMs: number, release: () => void): void {
    const held = pause(holdMs).then(() => {
      release();
      this.#history.add({ type: 'released', fault, atMs: now() });
      this.#holding.delete(held);
    });
    this.#holding.add(held);
  }

  /** Looks at everything while the clients wait, some of them with a mount. */
  async #rest(when: string): Promise<void> {
    await Promise.all(this.#holding);
    this.#clients.gate.close();
    const fromMs = now();
    await whole();
    this.#history.note(
      `The cluster was whole ${((now() - fromMs) / 1_000).toFixed(1)} s after the last fault had ended`,
    );
    await until('the clients to wait', async () => this.#clients.allWait(), 180_000);
    await rest({ ...this.#looking(), when, mounts: 'any' });
    console.log(`${this.#clock()} at rest ${when}`);
  }

  #looking() {
    return { history: this.#history, temporal: this.#temporal.client, targets: this.#targets };
  }

  /** Compares what the witnesses and clients have written down so far, so that a run ends with the fault that has led to it. */
  #isWrong(): boolean {
    const runs = this.#targets.runs();
    const [calls, faults] = [this.#history.of('call'), this.#history.of('fault')];
    const old = calls.filter(({ toMs }) => toMs < now() - 2 * MOUNTED_MS);
    const twice = this.#overlaps(runs).filter(({ excuse }) => excuse === undefined);
    for (const { what, atMs } of [
      ...twice.map(findingOf),
      ...brokenQuiet(this.#history.of('quiet'), runs),
      ...brokenMounts(old, faults, runs, FUSE),
      ...brokenPoliteness(calls, faults, runs, FUSE),
      ...brokenRefusals(old, faults, runs, FUSE),
      ...slowCalls(calls, faults),
    ])
      this.#history.violation(what, atMs);
    return this.#isKnownWrong();
  }

  #overlaps(runs: readonly Run[]) {
    return judgedOverlaps(runs, this.#history, this.#watch.excuses());
  }

  async #end(): Promise<void> {
    const wasRight = !this.#isKnownWrong();
    await this.#rest('after the last fault');
    await this.#clients.end();
    await rest({ ...this.#looking(), when: 'after all was unmounted', mounts: 'none' });
    if (wasRight) this.#isWrong();
    const runs = this.#targets.runs();
    for (const what of [
      ...(await brokenAnswers(this.#clients.outcomes, this.#temporal)),
      ...NODES.filter(({ name }) => !runs.some((run) => run.could && run.node === name)).map(
        ({ name }) => `nothing was tested: no target of ${name} ever had the device`,
      ),
    ])
      this.#history.violation(what);
    await this.#clients.removePods();
    await rest({ ...this.#looking(), when: 'after all pods were deleted', mounts: 'none' });
    const [tookMs, overlaps] = [now() - this.#beganMs, this.#overlaps(runs)];
    console.log(`\n${reportOf({ history: this.#history, runs, overlaps, tookMs }).join('\n')}`);
  }

  /** Leaves the cluster as it was, whatever has happened. */
  async #cleanUp(): Promise<void> {
    this.#frozen.releaseAll();
    this.#clients.abort();
    try {
      await whole();
      await this.#clients.removePods();
    } catch (err) {
      this.#history.violation(`the pods of the checker could not be removed: ${String(err)}`);
    }
    this.#keeper.stop();
    this.#watch.stop();
    try {
      await this.#vendors.stop();
    } catch (err) {
      this.#history.violation(`a scheduler of the checker has stopped: ${String(err)}`);
    }
    await this.#temporal.close();
    this.#history.close();
  }

  #clock(): string {
    return `${((now() - this.#beganMs) / 1_000).toFixed(1).padStart(7)} s`;
  }
}

const findingOf = ({ node, pods, fromMs, toMs }: Overlap): Finding => {
  const what = `${pods.join(' and ')} had the device of ${node} at once, for ${(toMs - fromMs).toFixed(0)} ms`;
  return { what, atMs: fromMs };
};

/** Runs the schedule of a seed on the running cluster; answers whether nothing was wrong. */
export async function runChaos(options: ChaosOptions): Promise<boolean> {
  rmSync(options.folder, { recursive: true, force: true });
  mkdirSync(join(options.folder, 'witness'), { recursive: true });
  const clean = await new Chaos(options).run();
  CLUSTER.api.close();
  return clean;
}
