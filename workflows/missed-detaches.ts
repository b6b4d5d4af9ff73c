import { log } from '@temporalio/workflow';
import type { Finding } from '../activities/finding.ts';
import type { Mounted } from '../activities/look-at-mount.ts';
import type { TakenBackResult } from '../contract/node-activities.ts';
import { SIGNALS } from '../contract/workflows.ts';
import { nodeActivities } from './node.ts';
import { ASK_NODE } from './timeouts.ts';

/** Mounts that a node is asked about at a time: they have to fit into a message. */
const ASKED = 500;

/**
 * Finds mounts whose devices were taken back while their owners were not told: the unmount was terminated after its detach, or
 * the answer of the detach never came.
 */
export async function missedDetaches(mounted: readonly Mounted[]): Promise<readonly Finding[]> {
  const byNode = [...Map.groupBy(mounted, ({ node }) => node)];
  const asked = byNode.flatMap(([node, ofNode]) => chunked(ofNode).map((some) => takenBackOf(node, some)));
  return (await Promise.all(asked)).flat();
}

function chunked(mounted: readonly Mounted[]): readonly (readonly Mounted[])[] {
  const starts = Array.from({ length: Math.ceil(mounted.length / ASKED) }, (_, index) => index * ASKED);
  return starts.map((start) => mounted.slice(start, start + ASKED));
}

async function takenBackOf(node: string, mounted: readonly Mounted[]): Promise<readonly Finding[]> {
  const mounts = mounted.map(({ namespace, mount: name, slaves }) => ({ namespace, name, slaves }));
  let taken: TakenBackResult['mounts'];
  try {
    const { takenBack } = nodeActivities(node, ASK_NODE);
    const summary = `what has ${node} taken back`;
    taken = (await takenBack.executeWithOptions({ summary }, [{ mounts }])).mounts;
  } catch (err) {
    // It is away, or of an earlier release.
    log.info('cannot ask a node what it has taken back', { node, err });
    return [];
  }
  return mounted
    .filter(({ namespace, mount }) => taken.some((each) => each.namespace === namespace && each.name === mount))
    .map((each) => ({ ...each, action: 'tell', why: 'its devices were taken back', signal: SIGNALS.released }));
}
