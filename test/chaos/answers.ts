import type { DeviceMount } from '../../contract/device-mount.ts';
import { slaveName } from '../../contract/names.ts';
import type { Temporal } from '../e2e/temporal.ts';
import type { Outcome } from './client.ts';

/** At once, so that Temporal answers hundreds within seconds. */
const SIDE_BY_SIDE = 20;

/** Where Temporal has another end of a mount than its client was answered. */
export async function brokenAnswers(outcomes: readonly Outcome[], temporal: Temporal): Promise<string[]> {
  const left = [...outcomes];
  const broken: string[] = [];
  const work = async (): Promise<void> => {
    for (let outcome = left.pop(); outcome !== undefined; outcome = left.pop()) {
      const workflow = await temporal.workflowOf(outcome.name);
      const problem = problemOf(outcome, workflow?.mount);
      if (problem !== undefined) broken.push(problem);
    }
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work));
  return broken;
}

interface Ended {
  readonly metadata: Pick<DeviceMount['metadata'], 'uid'>;
  readonly spec: Pick<DeviceMount['spec'], 'podName'>;
  readonly status: { readonly phase: string; readonly reason?: string; readonly mountedAt?: string };
}

/** @param mount as its workflow has left it; absent when Temporal knows none of that name */
export function problemOf(
  { name, result, slave, failure, early }: Outcome,
  mount: Ended | undefined,
): string | undefined {
  if (result === 'mounted') {
    if (mount?.status.mountedAt === undefined) return `mount ${name} was answered as mounted and never was`;
    // The answer has the UID of the object; slaves are named after that of the mount.
    const own = slaveName(mount.spec.podName, mount.metadata.uid, 0);
    return slave === own ? undefined : `mount ${name} was answered with slave ${slave}, has ${own}`;
  }
  // A request that was refused before anything began has no workflow.
  if (mount === undefined) return undefined;
  const { phase, reason } = mount.status;
  if (phase !== 'Failed') return `mount ${name} was answered ${failure} and is ${phase}`;
  return early === true || reason === failure
    ? undefined
    : `mount ${name} was answered ${failure} and has failed with ${reason}`;
}
