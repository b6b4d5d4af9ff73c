import type { DeviceMount } from '../../contract/device-mount.ts';
import { fail, isFailureType } from '../../contract/failures.ts';
import type { Fingerprint } from '../../contract/fingerprint.ts';
import type { MountRequest } from '../../contract/requests.ts';

/** A mount that has the name already. */
export interface Earlier {
  readonly mount: DeviceMount;
  /** Absent: somebody else than this API has begun it. */
  readonly fingerprint: Fingerprint | undefined;
  /** Absent while it lives. */
  readonly endedAt: Date | undefined;
  /** When the workflow task began that a worker has now; absent while none has one. */
  readonly taskSince?: Date | undefined;
}

/** For so long an ended mount answers a repeated request with how it ended. */
export const REMEMBERED_MS = 10 * 60_000;

/**
 * Whether a request goes on with a mount that has its name (`same`), or may begin one in its place (`free`).
 * @throws the mount's own failure, MountEnded, NameTaken, IdempotencyKeyReused
 */
export function repeatOf(earlier: Earlier, own: Fingerprint, now: Date): 'same' | 'free' {
  const { mount, fingerprint, endedAt } = earlier;
  const { name } = mount.metadata;
  if (endedAt !== undefined && now.getTime() - endedAt.getTime() > REMEMBERED_MS) return 'free';
  if (fingerprint?.digest === own.digest) {
    const { phase } = mount.status;
    if (endedAt === undefined && (phase === 'Pending' || phase === 'Mounted')) return 'same';
    throw phase === 'Failed' ? failureAgain(mount) : ended(mount);
  }
  if (own.idempotencyKey !== undefined && fingerprint?.idempotencyKey === own.idempotencyKey) {
    const rule = 'an earlier request with the same idempotencyKey has asked for something else';
    throw fail('IdempotencyKeyReused', `Cannot mount "${name}": ${rule}`);
  }
  if (endedAt !== undefined) return 'free';
  throw fail('NameTaken', `Cannot mount "${name}": another mount has that name`);
}

/** Whether a repeated request wants the lease to begin anew with another length. */
export function renewalOf({ spec }: DeviceMount, { leaseSeconds }: MountRequest): number | undefined {
  return leaseSeconds === spec.leaseSeconds ? undefined : leaseSeconds;
}

function ended({ metadata, status }: DeviceMount): Error {
  const why = status.reason === undefined ? '' : ` (${status.reason})`;
  return fail(
    'MountEnded',
    `Cannot mount "${metadata.name}": it was mounted, and has ended since${why}. A new mount needs another name or idempotencyKey`,
  );
}

function failureAgain({ metadata, status }: DeviceMount): Error {
  const { reason, message = `Cannot mount "${metadata.name}": it has failed` } = status;
  const undone = reason === 'Timeout' ? [{ reason: 'RolledBack', message: 'what was begun is undone' }] : [];
  return fail(isFailureType(reason) ? reason : 'MountEnded', message, undefined, undone);
}
