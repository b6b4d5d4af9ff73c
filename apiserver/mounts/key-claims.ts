import { createHash } from 'node:crypto';
import { type Client, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client';
import { fail } from '../../contract/failures.ts';
import { controlQueue, keyWorkflowId } from '../../contract/names.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { WORKFLOWS } from '../../contract/workflows.ts';
import { type Earlier, REMEMBERED_MS } from './repeat.ts';
import type { Start } from './start-options.ts';
import type { TemporalCalls } from './temporal-calls.ts';

/** Key of the memo that holds the name of the mount. */
const MOUNT_NAME_MEMO = 'mountName';

interface Claim {
  readonly mountName: string;
  readonly claimedAt: Date;
}

/**
 * Whether an idempotency key that stands for another mount is free for a new one: once that has ended and is forgotten. A mount that is not
 * there may be about to begin.
 */
export function isKeyFree({ claimedAt }: Claim, earlier: Earlier | undefined, now: Date): boolean {
  const since = earlier === undefined ? claimedAt : earlier.endedAt;
  return since !== undefined && now.getTime() - since.getTime() > REMEMBERED_MS;
}

type GetEarlier = (namespace: string, name: string) => Promise<Earlier | undefined>;

/** Keys of requests. Each stands for one mount, by its name, so that a key with two names does not make two mounts. */
export class KeyClaims {
  readonly #client: Client;
  readonly #temporal: TemporalCalls;
  readonly #earlier: GetEarlier;

  constructor(client: Client, temporal: TemporalCalls, earlier: GetEarlier) {
    this.#client = client;
    this.#temporal = temporal;
    this.#earlier = earlier;
  }

  /** @throws IdempotencyKeyReused when the key of the request stands for another mount */
  async claim({ cluster, name, target, idempotencyKey }: MountRequest): Promise<void> {
    if (idempotencyKey === undefined) return;
    const digest = createHash('sha256')
      .update(JSON.stringify([target.podUid, idempotencyKey]))
      .digest('base64url');
    const workflowId = keyWorkflowId(cluster, target.namespace, digest);
    const start = { workflowId, taskQueue: controlQueue(cluster) };
    if (await this.#started(start, name, 'REJECT_DUPLICATE')) return;
    const claim = await this.#read(workflowId);
    if (claim?.mountName === name) return;
    const earlier = claim && (await this.#earlier(target.namespace, claim.mountName));
    const free = claim === undefined || isKeyFree(claim, earlier, new Date());
    if (free && (await this.#started(start, name, 'ALLOW_DUPLICATE'))) return;
    const taken =
      claim === undefined ? 'is used by another request at this moment' : `belongs to mount "${claim.mountName}"`;
    throw fail('IdempotencyKeyReused', `Cannot mount "${name}": its idempotencyKey ${taken}`);
  }

  async #started(
    start: Pick<Start, 'workflowId' | 'taskQueue'>,
    mountName: string,
    workflowIdReusePolicy: NonNullable<Start['workflowIdReusePolicy']>,
  ) {
    try {
      await this.#temporal.start(WORKFLOWS.claimKey, {
        ...start,
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy,
        memo: { [MOUNT_NAME_MEMO]: mountName },
        staticSummary: `idempotency key of \`${mountName}\``,
      });
      return true;
    } catch (err) {
      if (err instanceof WorkflowExecutionAlreadyStartedError) return false;
      throw err;
    }
  }

  async #read(workflowId: string): Promise<Claim | undefined> {
    const handle = this.#client.workflow.getHandle(workflowId);
    try {
      const { memo, startTime } = await this.#temporal.call(() => handle.describe(), 'nothing was begun');
      const mountName = memo?.[MOUNT_NAME_MEMO];
      return typeof mountName === 'string' ? { mountName, claimedAt: startTime } : undefined;
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return undefined;
      throw err;
    }
  }
}
