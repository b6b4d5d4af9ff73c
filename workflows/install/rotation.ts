import type { V1Secret } from '@kubernetes/client-node';

/**
 * How long the public part of a new key is known before the key is used. Kubelets bring a changed ConfigMap to their pods within two
 * minutes; an hour leaves time for a node that is cut off.
 */
export const NOTICE_MS = 3_600_000;

/** Files of a key by name, such as `tls.crt` and `tls.key`. */
export type Files = Readonly<Record<string, string>>;

/** What a Secret holds of a key that is replaced while it is in use. */
export interface KeySecret {
  readonly current: Files;
  /** The key that will be used next. */
  readonly next?: Files;
  /** Since when `current` is in use. */
  readonly sinceMs: number;
  /** Since when all can know the public part of `next`. */
  readonly publishedMs?: number;
}

const SINCE = 'device-mounter.io/in-use-since';
const PUBLISHED = 'device-mounter.io/next-published';
const NEXT = 'next-';

/** Reads the files `names` and those of the next key. A Secret that somebody else made is in use since it was made. */
export function keySecretOf({ data = {}, metadata }: V1Secret, names: readonly string[]): KeySecret {
  const files = (prefix: string): Files =>
    Object.fromEntries(names.map((name) => [name, textOf(data[`${prefix}${name}`])]));
  const missing = names.find((name) => data[name] === undefined);
  if (missing !== undefined) throw new Error(`Cannot use Secret "${metadata?.name}": it must have ${missing}`);
  const { [SINCE]: since, [PUBLISHED]: published } = metadata?.annotations ?? {};
  return {
    current: files(''),
    sinceMs: since === undefined ? Number(metadata?.creationTimestamp) : Date.parse(since),
    ...(names.every((name) => data[`${NEXT}${name}`] !== undefined) && { next: files(NEXT) }),
    ...(published !== undefined && { publishedMs: Date.parse(published) }),
  };
}

/** `secret` with what `keys` says. */
export function withKeys(secret: V1Secret, { current, next, sinceMs, publishedMs }: KeySecret): V1Secret {
  const { [PUBLISHED]: _published, ...annotations } = secret.metadata?.annotations ?? {};
  const following = Object.entries(next ?? {}).map(([name, text]) => [`${NEXT}${name}`, text] as const);
  return {
    ...secret,
    data: base64({ ...current, ...Object.fromEntries(following) }),
    metadata: {
      ...secret.metadata,
      annotations: {
        ...annotations,
        [SINCE]: rfc3339(sinceMs),
        ...(publishedMs !== undefined && { [PUBLISHED]: rfc3339(publishedMs) }),
      },
    },
  };
}

/**
 * The next step of a rotation; undefined when there is none at this time. To be asked only while the public parts of both keys are
 * published: a step rests on that.
 */
export async function nextStep(
  keys: KeySecret,
  nowMs: number,
  isDue: boolean,
  make: () => Promise<Files>,
): Promise<KeySecret | undefined> {
  const { next, publishedMs } = keys;
  if (next === undefined) return isDue ? { ...keys, next: await make() } : undefined;
  if (publishedMs === undefined) return { ...keys, publishedMs: nowMs };
  return nowMs - publishedMs >= NOTICE_MS ? { current: next, sinceMs: nowMs } : undefined;
}

/** Text in the `data` of a Secret. */
export function textOf(value: string | undefined): string {
  return Buffer.from(value ?? '', 'base64').toString();
}

/** `data` of a Secret. */
export function base64(files: Files): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text).toString('base64')]));
}

/** Without fractions of a second, as Kubernetes writes times. */
export function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
