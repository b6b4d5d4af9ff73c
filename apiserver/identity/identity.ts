/** Who asks, in the fields of `authentication.k8s.io/v1 UserInfo`. */
export interface Identity {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** Headers as `IncomingMessage.headersDistinct` has them: every value on its own, since a joined list of groups can be forged. */
export type DistinctHeaders = Readonly<Record<string, readonly string[] | undefined>>;

/** Whoever shows nothing. */
export const ANONYMOUS: Identity = { name: 'system:anonymous', groups: ['system:unauthenticated'], extra: {} };
