import { SIGNALS } from '../../contract/workflows.ts';
import type { Harness } from './harness.ts';
import { eventually } from './outcome.ts';

/** Events after which a workflow goes on in a new run; Temporal's default is 4,096. */
const LONG = 60;

/** `settings` for `Harness.start()`. */
export const SHORT_HISTORIES = [`limit.historyCount.suggestContinueAsNew=${LONG}`];

/** Has the history of a mount become long, and its workflow know it. */
export async function lengthen(harness: Harness, name: string): Promise<void> {
  const handle = harness.handle(name);
  const { runId } = await handle.describe();
  const renew = () => handle.signal(SIGNALS.renew, { leaseSeconds: 700 });
  await eventually(async () => {
    await renew();
    const now = await handle.describe();
    return now.runId !== runId || now.historyLength > LONG;
  });
  await renew();
  // A query sees every signal that was sent before it.
  await handle.query('deviceMount');
}

/** Has `tell` done when a mount's workflow has decided to go on in a new run, and has not yet begun that. */
export async function beforeNewRun(harness: Harness, name: string, tell: () => Promise<unknown>): Promise<void> {
  const handle = harness.handle(name);
  // A run cannot end before it has told about the restart.
  const telling = harness.gates.stop(handle.workflowId, { activity: 'projectMount', when: 'before' });
  await handle.signal(SIGNALS.containerRestarted, { containerId: 'c2', reapplied: true });
  await telling;
  await lengthen(harness, name);
  await tell();
  harness.gates.open();
}
