import { endsAtMs, type MountRequest, type Signed } from '../contract/requests.ts';

/**
 * Signatures of requests that made a mount, by this process; Temporal's visibility store lags by seconds. Neither is a guard, since
 * another process may ask first: they only spare a slave that would be made in vain. The guard is the node, which attaches nothing for
 * a request twice.
 */
export class UsedRequests {
  readonly #uses = new Map<string, { readonly mountUid: string; readonly endsAtMs: number }>();

  /** The mount that the request is for: the first that used it. Forgets requests that have ended. */
  use({ request, signature }: Signed<MountRequest>, mountUid: string, nowMs: number): string {
    for (const [key, use] of this.#uses) if (use.endsAtMs < nowMs) this.#uses.delete(key);
    const used = this.#uses.get(signature)?.mountUid;
    if (used !== undefined) return used;
    this.#uses.set(signature, { mountUid, endsAtMs: endsAtMs(request) });
    return mountUid;
  }
}
