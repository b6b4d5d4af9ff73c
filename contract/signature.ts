import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';
import { fail } from './failures.ts';
import type { MountRequest, Signed, UnmountRequest } from './requests.ts';

/** A key of the apiserver. One that is retired proves only what was requested before, and begins nothing any more. */
export interface PublicKey {
  readonly key: KeyObject;
  readonly retiredAtMs?: number;
}

/** By what a worker believes a request. */
export interface Verifier {
  /** Name of its own cluster. */
  readonly clusterName: string;
  /** Keys of the apiserver, as they are now; more than one while they are rotated. */
  readonly publicKeys: () => readonly PublicKey[];
}

/** What a request is shown for: to begin something, or to go on with what it has begun earlier. */
export type Use = 'begin' | 'goOn';

/** A line before a key; RFC 7468 allows such text. */
const RETIRED = /^# *retired\b:?(.*)$/im;

/** Names a request by all that it says, in hex: of a signature there may be several spellings. */
export function requestDigest(request: MountRequest | UnmountRequest): string {
  return createHash('sha256').update(canonicalJson(request)).digest('hex');
}

/** Signs a request with the apiserver's private key (Ed25519, RFC 8032). */
export function signRequest<R extends MountRequest | UnmountRequest>(request: R, privateKey: KeyObject): Signed<R> {
  return { request, signature: sign(null, Buffer.from(canonicalJson(request)), privateKey).toString('base64') };
}

/**
 * Reads Ed25519 public keys in PEM, at least one. A line `# retired <RFC 3339>` before a key says since when it is retired.
 * Throws what is wrong with the text.
 */
export function parsePublicKeys(pem: string): readonly PublicKey[] {
  // Each with what stands before it.
  const blocks = pem
    .split(/(?<=-----END PUBLIC KEY-----)/)
    .filter((block) => block.includes('-----BEGIN PUBLIC KEY-----'));
  if (blocks.length === 0) throw new Error('Cannot use public keys: there must be one in PEM, is none');
  return blocks.map((block) => {
    const key = createPublicKey(block.slice(block.indexOf('-----BEGIN')));
    if (key.asymmetricKeyType !== 'ed25519') {
      throw new Error(`Cannot use public keys: each must be of type ed25519, one is of type ${key.asymmetricKeyType}`);
    }
    const retired = RETIRED.exec(block)?.[1]?.trim();
    if (retired === undefined) return { key };
    const retiredAtMs = Date.parse(retired);
    if (Number.isNaN(retiredAtMs)) {
      throw new Error(`Cannot use public keys: "retired" must be followed by a time of RFC 3339, is by "${retired}"`);
    }
    return { key, retiredAtMs };
  });
}

/**
 * Answers the request when a known key signed exactly it, for this cluster, and proves that `use`.
 * @throws InvalidSignature
 */
export function verifiedRequest<R extends MountRequest | UnmountRequest>(
  signed: Signed<R>,
  { clusterName, publicKeys }: Verifier,
  use: Use = 'begin',
): R {
  const bytes = Buffer.from(canonicalJson(signed.request));
  const signature = Buffer.from(signed.signature, 'base64');
  const signer = publicKeys().find(({ key }) => verify(null, bytes, key, signature));
  const refused = `Cannot serve a request to ${signed.request.kind}`;
  if (signer === undefined)
    throw fail('InvalidSignature', `${refused}: it is not signed by a key that this worker knows`);
  if (!proves(signer, signed.request.requestedAt, use)) {
    throw fail('InvalidSignature', `${refused}: the key that has signed it is retired`);
  }
  const { cluster } = signed.request;
  if (cluster !== clusterName) {
    throw fail('InvalidSignature', `${refused}: it is for cluster "${cluster}", and this is "${clusterName}"`);
  }
  return signed.request;
}

function proves({ retiredAtMs }: PublicKey, requestedAt: string, use: Use): boolean {
  return retiredAtMs === undefined || (use === 'goOn' && Date.parse(requestedAt) <= retiredAtMs);
}
