import { setTimeout as pause } from 'node:timers/promises';
import { SLAVE_LABELS } from '../../contract/names.ts';
import { CLUSTER } from '../e2e/cluster.ts';
import type { Temporal } from '../e2e/temporal.ts';
import type { Caller, Wanted } from './calls.ts';
import { now } from './clock.ts';
import type { Gate } from './gate.ts';
import type { Call, History, Quiet } from './history.ts';
import { isClear } from './parts.ts';
import type { Random } from './random.ts';
import { WEIGHTS } from './resources.ts';
import type { TargetPods, TargetSpec } from './targets.ts';

/** How long a request is repeated until its end is known. */
const PATIENCE_MS = 120_000;
/** How long a rollback that was promised may take before the client unmounts. */
const ROLLBACK_MS = 60_000;
/** Of the mount itself, not of its pod: afterwards nothing may be left, if the answer does not say otherwise. */
const UNDONE = ['InsufficientDevices', 'SlaveEnded', 'SlaveRefused', 'NotAllocated', 'Canceled', 'Timeout'];

/** How a mount has come out for its client. */
export interface Outcome {
  readonly name: string;
  readonly result: 'mounted' | 'failed';
  readonly slave?: string;
  readonly failure?: string;
  /** It was answered before it had ended, which may then be for another reason. */
  readonly early?: boolean;
}

export interface ClientOptions {
  readonly name: string;
  readonly spec: TargetSpec;
  readonly random: Random;
  readonly caller: Caller;
  readonly history: History;
  readonly temporal: Temporal;
  readonly targets: TargetPods;
  readonly gate: Gate;
}

/** Mounts, queues, renews, unmounts and cancels for one target after another, as long as it is wanted. */
export class ClientLoop {
  readonly outcomes: Outcome[] = [];
  readonly #options: ClientOptions;
  #pod = '';
  #pods = 0;
  #mounts = 0;
  #stopped = false;
  /** Whether an earlier try of the mount got no answer: it may still be on its way. */
  #unclear = false;
  #quiet: Omit<Quiet, 'toMs'> | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { gate } = this.#options;
    for (;;) {
      await gate.pass();
      if (this.#stopped) return this.#endQuiet();
      await this.#ensureTarget();
      await this.#oneMount();
    }
  }

  /** Lets it end at its next pass of the gate, with what is mounted then. */
  stop(): void {
    this.#stopped = true;
  }

  async #ensureTarget(): Promise<void> {
    const { name, spec, targets, history } = this.#options;
    if (this.#pod !== '' && (await targets.isThere(this.#pod))) return;
    this.#endQuiet();
    for (;;) {
      this.#pod = `${name}-${++this.#pods}`;
      try {
        await targets.start(this.#pod, spec);
        history.add({ type: 'target', pod: this.#pod, node: spec.node, atMs: now() });
        return;
      } catch (err) {
        await this.#abandon(String(err));
      }
    }
  }

  async #oneMount(): Promise<void> {
    const { random, gate } = this.#options;
    const wanted = this.#next();
    this.#endQuiet();
    const made = await this.#settledMount(wanted);
    if (made === undefined) return this.#abandon(`nobody could say what became of mount ${wanted.name}`);
    if (made.status !== 200) {
      await this.#failed(wanted, made);
      return pause(random.between([100, 1_500]));
    }
    this.outcomes.push({
      name: wanted.name,
      result: 'mounted',
      ...(made.slave !== undefined && { slave: made.slave }),
    });
    await pause(random.between([100, 3_000]));
    const isLeased = wanted.leaseSeconds !== undefined;
    const renewed = isLeased && random.next() < 0.5 ? await this.#renew(wanted) : made;
    await gate.pass();
    if (this.#stopped) return;
    const way = random.weighted({ unmount: 6, force: 2, cancel: 2, lease: isLeased ? 6 : 0 });
    if (way === 'cancel') await this.#options.caller.cancel(wanted);
    if (way === 'cancel' || way === 'lease') await this.#awaitClosed(wanted, renewed);
    else await this.#settledUnmount(wanted, way === 'force');
  }

  #next(): Wanted {
    const { random, spec } = this.#options;
    const queue = random.next() < 0.4;
    return {
      pod: this.#pod,
      node: spec.node,
      name: `${this.#pod}-m${++this.#mounts}`,
      resource: random.weighted(WEIGHTS),
      waitSeconds: random.between(queue ? [5, 25] : [3, 20]),
      queue,
      onRestart: random.pick(['reapply', 'release']),
      ...(random.next() < 0.3 && { leaseSeconds: random.between([2, 8]) }),
    };
  }

  /** Repeats the request, as a client does that got no answer, until its end is known; `undefined` when nobody could tell. */
  async #settledMount(wanted: Wanted): Promise<Call | undefined> {
    const deadline = now() + PATIENCE_MS;
    this.#unclear = false;
    while (now() < deadline) {
      const call = await this.#options.caller.mount(wanted);
      if (isClear(call) && call.status !== 202) return call;
      this.#unclear ||= !isClear(call);
      await pause(400);
    }
    return undefined;
  }

  async #renew(wanted: Wanted): Promise<Call> {
    return this.#options.caller.mount({ ...wanted, leaseSeconds: this.#options.random.between([3, 9]) }, 'renew');
  }

  /** What a failure promises has to be so, at once or when the rollback has ended. */
  async #failed(wanted: Wanted, call: Call): Promise<void> {
    const { failure = '', causes = [] } = call;
    const isGoingOn = causes.includes('RollingBack');
    const isPromise = UNDONE.includes(failure) && (failure !== 'Timeout' || isGoingOn || causes.includes('RolledBack'));
    // What is said of the pod says nothing of the earlier try, which may make the mount yet.
    if (!isPromise && this.#unclear && failure !== 'MountEnded')
      return this.#abandon(`mount ${wanted.name} was answered ${failure} after a try without an answer`);
    if (!isPromise) return this.#settledUnmount(wanted, true);
    this.outcomes.push({ name: wanted.name, result: 'failed', failure, ...(isGoingOn && { early: true }) });
    if (isGoingOn) return this.#awaitRollback(wanted, failure);
    this.#beginQuiet(wanted, `its failure with ${failure}`, call.toMs);
    await this.#expectNoSlave(wanted, failure);
  }

  async #awaitRollback(wanted: Wanted, failure: string): Promise<void> {
    const { temporal, history } = this.#options;
    for (const deadline = now() + ROLLBACK_MS; now() < deadline; await pause(200)) {
      const workflow = await temporal.workflowOf(wanted.name).catch(() => undefined);
      if (workflow?.mount?.status.phase === 'Mounted') {
        history.violation(`mount ${wanted.name} was answered ${failure}, RollingBack, and is mounted`);
        break;
      }
      if (workflow?.mount?.status.reason === 'RollbackIncomplete') break;
      if (workflow !== undefined && workflow.status !== 'RUNNING')
        return this.#beginQuiet(wanted, 'its rollback has ended', now());
    }
    await this.#settledUnmount(wanted, true);
  }

  async #expectNoSlave({ name }: Wanted, failure: string): Promise<void> {
    const selector = encodeURIComponent(`${SLAVE_LABELS.mount}=${name}`);
    const list = await CLUSTER.api.find(`/api/v1/namespaces/default/pods?labelSelector=${selector}`);
    const { items } = (list ?? { items: [] }) as {
      readonly items: readonly { readonly metadata: { readonly name: string } }[];
    };
    for (const { metadata } of items)
      this.#options.history.violation(
        `mount ${name} was answered ${failure} and its slave ${metadata.name} was still there`,
      );
  }

  async #settledUnmount(wanted: Wanted, forced: boolean): Promise<void> {
    const deadline = now() + PATIENCE_MS;
    let force = forced;
    while (now() < deadline) {
      const call = await this.#options.caller.unmount(wanted, force);
      if (call.failure === 'PodNotFound' || call.failure === 'TargetGone') return;
      if (call.status === 200) return this.#beginQuiet(wanted, 'its unmount was answered', call.toMs);
      if (call.failure === 'NothingMounted') return this.#beginQuiet(wanted, 'the answer NothingMounted', call.toMs);
      force ||= call.failure === 'DeviceBusy';
      await pause(400);
    }
    await this.#abandon(`mount ${wanted.name} could not be unmounted`);
  }

  /** Waits for an end that no answer tells of, and unmounts when it does not come. */
  async #awaitClosed(wanted: Wanted, { leaseEndsAt }: Call): Promise<void> {
    const { temporal, history } = this.#options;
    const deadline = now() + 30_000;
    while (now() < deadline) {
      const workflow = await temporal.workflowOf(wanted.name).catch(() => undefined);
      if (workflow !== undefined && workflow.status !== 'RUNNING') {
        const early = leaseEndsAt !== undefined && now() < Date.parse(leaseEndsAt);
        if (early && workflow.mount?.status.reason === 'LeaseEnded')
          history.violation(`the lease of mount ${wanted.name} has ended before ${leaseEndsAt}`);
        if (workflow.mount?.status.reason === 'RollbackIncomplete') break;
        return this.#beginQuiet(wanted, 'its workflow has closed', now());
      }
      await pause(200);
    }
    await this.#settledUnmount(wanted, true);
  }

  async #abandon(why: string): Promise<void> {
    const { targets, history } = this.#options;
    history.note(`${this.#pod} is abandoned: ${why}`);
    await targets.remove(this.#pod);
    this.#pod = '';
  }

  #beginQuiet({ pod, node, name }: Wanted, why: string, fromMs: number): void {
    this.#quiet = { type: 'quiet', pod, node, name, why, fromMs };
  }

  #endQuiet(): void {
    if (this.#quiet !== undefined) this.#options.history.add({ ...this.#quiet, toMs: now() });
    this.#quiet = undefined;
  }
}
