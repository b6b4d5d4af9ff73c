import { CancellationScope, continueAsNew, log, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { Finding } from '../activities/finding.ts';
import type { Mounted } from '../activities/look-at-mount.ts';
import { fail, failureOf } from '../contract/failures.ts';
import { type ReconcileInput, type ReconcileReport, SIGNALS } from '../contract/workflows.ts';
import {
  adoptMount,
  confirmMounts,
  nodeState,
  publish,
  settleMount,
  showMount,
  surveyMounts,
  tellOwner,
} from './activities.ts';
import { Attempts } from './attempts.ts';
import { detachInUse } from './detach-in-use.ts';
import { countFinding } from './metrics.ts';
import { missedDetaches } from './missed-detaches.ts';
import { detachOnNode } from './node.ts';
import { deleteSlaves, type MadeSlave, madeSlaves } from './slaves.ts';
import { RECONCILE_MS } from './timeouts.ts';

/** Of findings at most, since a report has to fit into an answer of Temporal and on a page. */
const REPORTED = 200;

/** Objects that a run confirms at most: thus ten thousand have their turn in the ten minutes that a confirmation is good for. */
const CONFIRMED = 1_000;

/**
 * Mounts that are collected before their nodes are asked: of each page some are on nearly every node. With another page that is less than the
 * 2,000 steps that Temporal lets a workflow have under way.
 */
const ASKED = 1_000;

type Result = ReconcileReport['findings'][number];

/**
 * Repairs what no owner repairs: slaves whose workflow was terminated or lost, mounts that have missed an end, and objects that do not
 * show how their mounts are. Answers what it found; what it could not do is found again the next time.
 */
export async function reconcileMounts(input: ReconcileInput = {}): Promise<ReconcileReport> {
  const { dryRun = false } = input;
  let { after, report = { dryRun, findings: [] }, unconfirmed = [] } = input;
  const attempts = new Attempts(input.attempts ?? lastReport()?.attempts ?? [], report.attempts ?? []);
  const repairAll = async (findings: readonly Finding[]): Promise<void> => {
    const results = findings.map(async (finding) => (dryRun ? resultOf(finding, false) : repaired(finding, attempts)));
    const done = await Promise.all(results);
    if (!dryRun) done.forEach(countFinding);
    report = reportOf(report, done, attempts);
    setCurrentDetails(detailsOf(report));
  };
  let mounted: readonly Mounted[] = [];
  for (;;) {
    const page = await surveyMounts.executeWithOptions({ summary: 'compare slaves and objects with owners' }, [
      { ...(after !== undefined && { after }) },
    ]);
    await repairAll(page.findings);
    // Repairs come first: whoever waits for a device gains nothing by a confirmation.
    if (!dryRun) unconfirmed = [...unconfirmed, ...page.unconfirmed].slice(0, CONFIRMED);
    mounted = [...mounted, ...page.mounted];
    after = page.next;
    const isLastOfRun = after === undefined || workflowInfo().continueAsNewSuggested;
    if (mounted.length >= ASKED || isLastOfRun) {
      await repairAll(await missedDetaches(mounted));
      mounted = [];
    }
    if (after === undefined) break;
    if (isLastOfRun)
      await continueAsNew<typeof reconcileMounts>({ dryRun, after, report, unconfirmed, attempts: attempts.before });
  }
  await confirm(unconfirmed);
  return report;
}

/** For readers of the objects only: what fails is found again. */
async function confirm(mounts: NonNullable<ReconcileInput['unconfirmed']>): Promise<void> {
  if (mounts.length === 0) return;
  const summary = `confirm ${mounts.length} objects`;
  await confirmMounts.executeWithOptions({ summary }, [{ mounts }]).catch((err: unknown) => {
    log.warn('cannot confirm objects', { err });
  });
}

function reportOf(before: ReconcileReport, results: readonly Result[], attempts: Attempts): ReconcileReport {
  const findings = [...before.findings, ...results];
  const more = (before.more ?? 0) + Math.max(0, findings.length - REPORTED);
  return {
    dryRun: before.dryRun,
    findings: findings.slice(0, REPORTED),
    ...(more > 0 && { more }),
    ...(attempts.now.length > 0 && { attempts: attempts.now }),
  };
}

/** Of the pass before, where the Schedule has started both. */
function lastReport(): Partial<ReconcileReport> | undefined {
  return workflowInfo().lastResult as Partial<ReconcileReport> | undefined;
}

async function repaired(finding: Finding, attempts: Attempts): Promise<Result> {
  try {
    const waits = isShownByOwner(finding) ? attempts.found(finding, Date.now()) : undefined;
    // One that hangs must not keep the others from being found again.
    const problem = waits ?? (await CancellationScope.withTimeout(RECONCILE_MS, () => repair(finding)));
    return resultOf(finding, problem === undefined && finding.action !== 'keep', problem);
  } catch (err) {
    return resultOf(finding, false, failureOf(err)?.message ?? (err instanceof Error ? err.message : String(err)));
  }
}

/** What kube-apiserver refuses for good stays so however often its owner is asked. */
function isShownByOwner({ signal }: Finding): boolean {
  return signal === SIGNALS.project;
}

/** Answers what is not repaired by that. */
async function repair(finding: Finding): Promise<string | undefined> {
  const { action, namespace, mount, adoption, signal, args = [] } = finding;
  if (action === 'adopt' && adoption !== undefined) {
    await adoptMount.executeWithOptions({ summary: `adopt mount ${mount}` }, [adoption]);
  } else if (isShownByOwner(finding)) {
    const isShown = await showMount.executeWithOptions({ summary: `show ${mount}` }, [{ namespace, name: mount }]);
    return isShown ? undefined : 'its owner was asked to show it, and it still does not';
  } else if (signal !== undefined) {
    await tellOwner.executeWithOptions({ summary: `tell the owner of ${mount}` }, [{ namespace, mount, signal, args }]);
  } else if (action === 'project' || action === 'remove') {
    await settleMount.executeWithOptions({ summary: `${action} ${mount}` }, [{ namespace, name: mount }]);
  } else if (action === 'free') {
    await detach(finding);
    await deleteSlaves(slavesOf(finding));
    await tellTarget(finding);
  } else if (action === 'delete') await deleteSlaves(slavesOf(finding));
  return undefined;
}

async function detach(finding: Finding): Promise<void> {
  const { namespace, mount, node, slaves, target } = finding;
  if (node === undefined) return;
  const state = await nodeState.executeWithOptions({ summary: `is the node worker on ${node} alive` }, [{ node }]);
  // A node that has left the cluster has nothing attached.
  if (state === 'gone') return;
  if (state !== 'alive')
    throw fail('NodeUnreachable', `Cannot detach on node "${node}": its node worker does not run, or is cut off`);
  const mounts = [{ namespace, name: mount }];
  const what = { mounts, slaves, force: true };
  await detachInUse(() => detachOnNode(node, what, `detach from ${target.pod}`), slavesOf(finding));
}

function slavesOf({ mount, slaves, target }: Finding): readonly MadeSlave[] {
  return madeSlaves(slaves, { mount, targetUid: target.podUid });
}

/** For its readers only: that this fails changes nothing. */
async function tellTarget({ mount, orphan, target, why }: Finding): Promise<void> {
  if (orphan === undefined) return;
  const event = { type: 'Warning', reason: 'UnMountDevice', message: `Unmounted ${mount}: ${why}` } as const;
  try {
    await publish.executeWithOptions({ summary: `tell pod ${target.pod}` }, [{ ...orphan, events: [event] }]);
  } catch (err) {
    log.warn('cannot tell the target', { mount, err });
  }
}

function resultOf({ namespace, mount, action, why, slaves }: Finding, done: boolean, problem?: string): Result {
  const names = slaves.map(({ name }) => name);
  return { namespace, mount, action, why, slaves: names, done, ...(problem !== undefined && { problem }) };
}

/** Markdown for the Temporal UI. */
function detailsOf({ dryRun, findings, more = 0 }: ReconcileReport): string {
  if (findings.length === 0) return 'Everything is as it should be.\n';
  const lines = findings.map(({ namespace, mount, action, why, done, problem }) => {
    const state = problem ?? (done ? 'done' : 'not done');
    return `- **${action}** \`${namespace}/${mount}\`: ${why} (${state})`;
  });
  if (more > 0) lines.push(`- and ${more} more`);
  return `${dryRun ? 'Dry run.\n\n' : ''}${lines.join('\n')}\n`;
}
