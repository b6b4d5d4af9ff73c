import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { NODES } from '../../e2e/cluster.ts';
import { bringBack } from '../../e2e/nodes.ts';
import { until } from '../../e2e/until.ts';
import { now } from '../clock.ts';
import type { History } from '../history.ts';
import type { TargetPods } from '../targets.ts';
import { problemsIn } from './agreement.ts';
import { takeSnapshot } from './snapshot.ts';

/** How long after the cluster is whole again everything has to agree at the latest. */
const REST_MS = 60_000;
const LOOK_MS = 500;
/** More problems than this are only counted. */
const TOLD = 10;
/** For kubelets, containerds and the product to run again, whatever was killed last. */
const WHOLE_MS = 240_000;

/** Waits until every node can be used and every process of the product is ready. */
export async function whole(): Promise<void> {
  await until(
    'the cluster to be whole',
    async () => {
      try {
        await Promise.all(NODES.map(bringBack));
        return true;
      } catch {
        // kube-apiserver is not back yet, for one.
        return false;
      }
    },
    WHOLE_MS,
  );
}

export interface RestOptions {
  readonly history: History;
  readonly temporal: Client;
  readonly targets: TargetPods;
  /** Of people: `after the clients have unmounted`. */
  readonly when: string;
  /** Whether mounts may be there. */
  readonly mounts: 'any' | 'none';
}

/** Waits until all agrees about what is mounted. What still does not after a minute is a violation. */
export async function rest({ history, temporal, targets, when, mounts }: RestOptions): Promise<void> {
  const fromMs = now();
  for (;;) {
    const [problems, count] = await look(temporal, targets, mounts);
    if (problems.length === 0) {
      history.add({ type: 'rest', mounts: count, tookMs: now() - fromMs, atMs: now() });
      return;
    }
    if (now() - fromMs > REST_MS) {
      for (const problem of problems.slice(0, TOLD)) history.violation(`At rest, ${when}: ${problem}`);
      if (problems.length > TOLD) history.violation(`At rest, ${when}: ${problems.length - TOLD} more`);
      return;
    }
    await pause(LOOK_MS);
  }
}

/** What does not agree, and how many mounts there are. */
async function look(temporal: Client, targets: TargetPods, mounts: RestOptions['mounts']): Promise<[string[], number]> {
  try {
    const snapshot = await takeSnapshot(temporal, targets);
    const problems = problemsIn(snapshot);
    const left = mounts === 'none' ? snapshot.workflows.map((id) => `workflow ${id} is open`) : [];
    return [[...new Set([...problems, ...left])], snapshot.workflows.length];
  } catch (err) {
    return [[`nobody can tell: ${err instanceof Error ? err.message : String(err)}`], 0];
  }
}
