import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ClusterError } from '../../activities/cluster.ts';
import { type ReconcileReport, SIGNALS, WORKFLOWS } from '../../contract/workflows.ts';
import { Harness } from './harness.ts';
import { eventually } from './outcome.ts';
import { mountRequest, NAMESPACE, signed } from './requests.ts';

const REFUSED = new ClusterError(422, 'Invalid', 'spec.leaseSeconds: Invalid value: "number"');

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/** The reconciler as a Schedule runs it: each pass can read what the one before has answered. */
class Passes {
  readonly #schedule;

  private constructor(schedule: Awaited<ReturnType<Harness['client']['schedule']['create']>>) {
    this.#schedule = schedule;
  }

  static async create(scheduleId: string): Promise<Passes> {
    const action = { workflowType: WORKFLOWS.reconcile, workflowId: scheduleId, taskQueue: harness.queue, args: [{}] };
    const schedule = { scheduleId, spec: {}, action: { ...action, type: 'startWorkflow' } as const };
    return new Passes(await harness.client.schedule.create(schedule));
  }

  /** What the next pass does about the object of `pod`. */
  async next(pod: string): Promise<readonly string[]> {
    const { numActionsTaken } = (await this.#schedule.describe()).info;
    // By default it may run beside others, and of those no Schedule takes the answer.
    await this.#schedule.trigger('SKIP');
    const { workflowId, firstExecutionRunId } = await eventually(async () => {
      const { info } = await this.#schedule.describe();
      const started = info.numActionsTaken > numActionsTaken ? info.recentActions.at(-1) : undefined;
      return started?.action.type === 'startWorkflow' ? started.action.workflow : undefined;
    });
    const handle = harness.client.workflow.getHandle(workflowId, firstExecutionRunId);
    const { findings } = (await handle.result()) as ReconcileReport;
    // The Schedule hears of the end a moment later, and hands the answer on only then.
    await eventually(async () => (await this.#schedule.describe()).info.runningActions.length === 0);
    const about = findings.filter(({ mount }) => mount === `${pod}-m`);
    return about.map(({ action, why, done, problem }) => `${action} ${why}: ${problem ?? done}`);
  }
}

async function asked(mount: string): Promise<number> {
  const { events } = await harness.handle(mount).fetchHistory();
  const names = (events ?? []).map(({ workflowExecutionSignaledEventAttributes: signal }) => signal?.signalName);
  return names.filter((name) => name === SIGNALS.project).length;
}

const inVain = 'project it has no object: its owner was asked to show it, and it still does not';

function waits(pass: number, next: number): string {
  const until = `pass ${next} tries again, or the first an hour after the last try`;
  return `project it has no object: waits after trying in vain: pass ${pass} in a row finds it, ${until}`;
}

describe('reconcileMounts()', () => {
  test('asks ever more seldom for an object that kube-apiserver refuses, and never says that it is done', async () => {
    await harness.addNode('refused', 1);
    await harness.mount(signed(mountRequest('refused')));
    const ref = { namespace: NAMESPACE, name: 'refused-m' };
    const { uid = '' } = (await harness.cluster.getMount(ref))?.metadata ?? {};
    await harness.cluster.deleteMount(ref, { uid });
    harness.aheadMs = 60_000;
    harness.cluster.refuseMounts = REFUSED;
    const passes = await Passes.create('passes');
    expect(await passes.next('refused')).toEqual([inVain]);
    expect(await passes.next('refused')).toEqual([inVain]);
    expect(await asked('refused-m')).toBe(2);
    harness.cluster.refuseMounts = undefined;
    expect(await passes.next('refused')).toEqual([waits(3, 4)]);
    expect(await asked('refused-m')).toBe(2);
    expect(await passes.next('refused')).toEqual(['project it has no object: true']);
    expect(await passes.next('refused')).toEqual([]);
    expect(await asked('refused-m')).toBe(3);
    // It begins anew.
    const { uid: again = '' } = (await harness.cluster.getMount(ref))?.metadata ?? {};
    await harness.cluster.deleteMount(ref, { uid: again });
    expect(await passes.next('refused')).toEqual(['project it has no object: true']);
  });
});
