import { type KeyObject, sign, verify } from 'node:crypto';
import { fail } from './failures.ts';
import type { MountRequest, Signed, UnmountRequest } from './requests.ts';

/** JSON with the keys of every object in order, so that equal values have equal bytes wherever they come from. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Signs a request with the apiserver's private key (Ed25519, RFC 8032). */
export function signRequest<R extends MountRequest | UnmountRequest>(request: R, privateKey: KeyObject): Signed<R> {
  return { request, signature: sign(null, Buffer.from(canonicalJson(request)), privateKey).toString('base64') };
}

/**
 * Answers the request when one of `publicKeys` signed exactly it; more than one is accepted while keys are rotated.
 * @throws InvalidSignature
 */
export function verifiedRequest<R extends MountRequest | UnmountRequest>(
  signed: Signed<R>,
  publicKeys: readonly KeyObject[],
): R {
  const bytes = Buffer.from(canonicalJson(signed.request));
  const signature = Buffer.from(signed.signature, 'base64');
  if (publicKeys.some((key) => verify(null, bytes, key, signature))) return signed.request;
  throw fail('InvalidSignature', `Cannot serve a request to ${signed.request.kind}: the apiserver has not signed it`);
}
