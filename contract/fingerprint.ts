import { createHash, randomUUID } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';
import type { MountRequest } from './requests.ts';

/** Key of the memo of a mount's workflow that holds the `Fingerprint` of its request. */
export const FINGERPRINT_MEMO = 'fingerprint';

/** What is kept beside a mount, to tell a request that is repeated from another one with the same name. */
export interface Fingerprint {
  readonly digest: string;
  readonly idempotencyKey?: string;
}

/**
 * What makes two requests the same: all that they ask for. Not who asks, nor how long they wait, nor the lease, which is
 * renewed. A request whose name nobody has chosen (`chosen` false) is never the same as another.
 */
export function fingerprintOf(request: MountRequest, chosen: boolean): Fingerprint {
  const {
    target,
    deviceType,
    resources,
    labels,
    annotations,
    patches,
    queue,
    onRestart,
    idempotencyKey,
    split,
    inject,
    claims,
  } = request;
  const asked = [
    target.podUid,
    target.container,
    deviceType,
    ...[resources, labels, annotations].map((map) => Object.entries(map).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    patches,
    queue,
    onRestart,
    idempotencyKey,
    ...(split ? ['split'] : []),
    ...(inject === undefined ? [] : [`inject ${inject}`]),
    ...(claims === undefined ? [] : [canonicalJson(claims)]),
  ];
  const digest = chosen ? createHash('sha256').update(JSON.stringify(asked)).digest('base64url') : randomUUID();
  return { digest, ...(idempotencyKey !== undefined && { idempotencyKey }) };
}
