import {
  type ApplicationFailure,
  CancellationScope,
  condition,
  defineUpdate,
  isCancellation,
  setHandler,
} from '@temporalio/workflow';
import { type FailureCause, type FailureType, fail, failureOf } from '../contract/failures.ts';
import { type MountedResult, type ShownResult, UPDATES } from '../contract/workflows.ts';
import type { StatusRecord } from './status-record.ts';
import { ANSWER_MS, SHOW_MS } from './timeouts.ts';

type Failure = ApplicationFailure & { readonly type: FailureType };

/** How making a mount goes, and the updates `mounted` and `shown` by which clients wait for that. */
export class MountOutcome {
  #failure: Failure | undefined;
  #undone = false;

  constructor(record: StatusRecord) {
    // Not cancellable: after a Cancel of the workflow the caller is still to be told how it ended.
    setHandler(
      defineUpdate<MountedResult>(UPDATES.mounted),
      () => CancellationScope.nonCancellable(() => this.#mounted(record)),
      { description: 'Answers the DeviceMount once it is mounted.' },
    );
    setHandler(
      defineUpdate<ShownResult>(UPDATES.shown),
      () => CancellationScope.nonCancellable(() => this.#shown(record)),
      { description: 'Answers the DeviceMount as soon as it is in kube-apiserver.' },
    );
  }

  async #mounted(record: StatusRecord): Promise<MountedResult> {
    await condition(() => record.status.phase !== 'Pending' || this.#failure !== undefined);
    await this.#checkFailure();
    if (record.status.phase === 'Mounted') {
      const { mount, projection } = record;
      await projection.there(SHOW_MS.mounted);
      return projection.withObject(mount);
    }
    throw fail('MountEnded', `Cannot mount "${record.mount.metadata.name}": it was mounted, and has ended since`);
  }

  async #shown(record: StatusRecord): Promise<ShownResult> {
    const { projection } = record;
    if (projection.object === undefined && !projection.isBusy) projection.show();
    await condition(() => projection.object !== undefined || !projection.isBusy || this.#failure !== undefined);
    if (projection.object === undefined) await this.#checkFailure();
    return projection.withObject(record.mount);
  }

  async #checkFailure(): Promise<void> {
    if (this.#failure === undefined) return;
    await condition(() => this.#undone, ANSWER_MS);
    throw answerOf(this.#failure, this.#undone);
  }

  /** To be told before the undo begins. */
  failed(err: unknown): void {
    this.#failure ??= knownFailure(err);
  }

  /** To be told when nothing is left to undo, with what the mount ended with. Answers that as one of `FAILURES`. */
  undone(err: unknown): Failure {
    const failure = knownFailure(err);
    this.#failure = failure;
    this.#undone = true;
    return failure;
  }
}

function knownFailure(err: unknown): Failure {
  const failure = failureOf(err);
  if (failure !== undefined) return failure;
  if (isCancellation(err)) return fail('Canceled', 'Cannot mount: the mount was cancelled') as Failure;
  return fail('Internal', err instanceof Error ? err.message : String(err), err) as Failure;
}

/** Only a deadline is told that it was kept; after every failure an unfinished undo is. */
function answerOf(failure: Failure, undone: boolean): Error {
  const causes: FailureCause[] = [...((failure.details?.[0] as FailureCause[] | undefined) ?? [])];
  if (!undone) causes.push({ reason: 'RollingBack', message: 'what was begun is still being undone' });
  else if (failure.type === 'Timeout') causes.push({ reason: 'RolledBack', message: 'what was begun is undone' });
  return fail(failure.type, failure.message, failure, causes);
}
