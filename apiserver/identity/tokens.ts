import { createHmac, randomBytes } from 'node:crypto';
import { fail } from '../../contract/failures.ts';
import type { DistinctHeaders, Identity } from './identity.ts';

/** As k8s.io/apiserver keeps the opinion on a token, good or bad. */
const KEPT_MS = 10_000;
const MOST_KEPT = 4_096;
/** Reviews at once: each is a request to kube-apiserver by somebody whom nobody knows yet. */
const MOST_ASKED = 64;

/** kube-apiserver's opinion on a token: whose it is, undefined when it is not good. Rejects when there is no opinion. */
export type ReviewToken = (token: string) => Promise<Identity | undefined>;

interface Kept {
  readonly untilMs: number;
  readonly identity: Promise<Identity | undefined>;
}

/** Tokens of callers who do not come through kube-apiserver; only those made for our own audience, so that none serves elsewhere. */
export class Tokens {
  readonly #review: ReviewToken;
  readonly #nowMs: () => number;
  readonly #kept = new Map<string, Kept>();
  /** So that a dump of the memory holds no token. */
  readonly #key = randomBytes(32);
  #asked = 0;

  /** @param nowMs a clock that never goes back */
  constructor(review: ReviewToken, nowMs: () => number = () => performance.now()) {
    this.#review = review;
    this.#nowMs = nowMs;
  }

  async #ask(token: string): Promise<Identity | undefined> {
    if (this.#asked >= MOST_ASKED) {
      throw fail('TooManyRequests', 'Too many tokens are being looked at, please try again later');
    }
    this.#asked += 1;
    try {
      return await this.#review(token);
    } finally {
      this.#asked -= 1;
    }
  }

  /** @throws Unauthorized when the token is not good, TooManyRequests */
  async identityOf(token: string): Promise<Identity> {
    const key = createHmac('sha256', this.#key).update(token).digest('base64url');
    const nowMs = this.#nowMs();
    let kept = this.#kept.get(key);
    if (kept === undefined || kept.untilMs < nowMs) {
      kept = { untilMs: nowMs + KEPT_MS, identity: this.#ask(token) };
      // Once a review has failed, the next request asks again.
      kept.identity.catch(() => this.#kept.delete(key));
      this.#kept.delete(key);
      this.#kept.set(key, kept);
      const [oldest] = this.#kept.keys();
      if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    }
    const identity = await kept.identity;
    if (identity === undefined) throw fail('Unauthorized', 'Unauthorized', new Error('the bearer token is not good'));
    return identity;
  }
}

/** The token of `Authorization: Bearer`; undefined without one. */
export function bearerOf(headers: DistinctHeaders): string | undefined {
  const [, token] = /^bearer +(\S+)$/i.exec(headers['authorization']?.[0]?.trim() ?? '') ?? [];
  return token;
}
