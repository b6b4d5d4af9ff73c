import type { V1Pod } from '@kubernetes/client-node';
import { CancelledFailure, Context } from '@temporalio/activity';
import type { SlaveRef } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import type { Target } from '../contract/requests.ts';
import type { Dependencies } from './dependencies.ts';
import { slaveEnd } from './slave-pod.ts';
import { livingTarget } from './target.ts';

export interface AwaitScheduledInput {
  readonly slave: SlaveRef;
  readonly target: Target;
  /** The scheduler's words that the caller knows already: only others are answered. */
  readonly known?: string;
}

export type Scheduling =
  | { readonly scheduled: true }
  /** The scheduler cannot place the slave now; `message` is its own. */
  | { readonly scheduled: false; readonly message: string };

/** How often the end of the target is looked for. */
const TARGET_PERIOD_MS = 2_000;

/**
 * Waits until the scheduler has said something about a slave: a node, or why there is none.
 * @throws SlaveEnded, TargetGone
 */
export async function awaitScheduled(deps: Dependencies, input: AwaitScheduledInput): Promise<Scheduling> {
  const context = Context.current();
  const said = Promise.withResolvers<Scheduling>();
  const look = (pod: V1Pod | undefined): void => {
    try {
      const answer = schedulingOf(pod, input);
      if (answer !== undefined) said.resolve(answer);
    } catch (err) {
      said.reject(err);
    }
  };
  const unsubscribe = deps.slaves.subscribe((now, last) => {
    if (last.metadata?.uid === input.slave.uid) look(now);
  });
  context.cancellationSignal.addEventListener('abort', () => said.reject(new CancelledFailure('no longer waited for')));
  const period = setInterval(() => {
    context.heartbeat();
    livingTarget(deps.cluster, input.target).catch(said.reject);
  }, TARGET_PERIOD_MS);
  try {
    // The watch may have seen the slave's end before this began, or may lag behind.
    look(deps.slaves.get(input.slave) ?? (await deps.cluster.getPod(input.slave)));
    return await said.promise;
  } catch (err) {
    // With the target its slaves are deleted; then the target's end is the reason to tell.
    await livingTarget(deps.cluster, input.target);
    throw err;
  } finally {
    clearInterval(period);
    unsubscribe();
  }
}

/**
 * What the scheduler has said about a slave until now; `message` is empty when it has said nothing yet.
 * @throws SlaveEnded, TargetGone
 */
export async function lookScheduled(
  { cluster }: Pick<Dependencies, 'cluster'>,
  { slave, target }: Pick<AwaitScheduledInput, 'slave' | 'target'>,
): Promise<Scheduling> {
  await livingTarget(cluster, target);
  return schedulingOf(await cluster.getPod(slave), { slave }) ?? { scheduled: false, message: '' };
}

function schedulingOf(
  pod: V1Pod | undefined,
  { slave, known }: Pick<AwaitScheduledInput, 'slave' | 'known'>,
): Scheduling | undefined {
  const which = `Cannot use slave pod "${slave.namespace}/${slave.name}"`;
  const mine = pod?.metadata?.uid === slave.uid ? pod : undefined;
  const end = slaveEnd(mine);
  if (mine === undefined || end !== undefined) throw fail('SlaveEnded', `${which}: ${end ?? 'it was deleted'}`);
  const said = saidOf(mine);
  return said?.scheduled === false && said.message === known ? undefined : said;
}

/** What the scheduler has said about a pod, if anything. */
export function saidOf({ spec, status }: V1Pod): Scheduling | undefined {
  if (spec?.nodeName !== undefined) return { scheduled: true };
  // The scheduler is making room by preemption.
  if (status?.nominatedNodeName !== undefined && status.nominatedNodeName !== '') return undefined;
  // Conditions are a list without order.
  const condition = (status?.conditions ?? []).find(({ type }) => type === 'PodScheduled');
  if (condition?.status !== 'False' || condition.reason !== 'Unschedulable') return undefined;
  return { scheduled: false, message: condition.message ?? '' };
}
