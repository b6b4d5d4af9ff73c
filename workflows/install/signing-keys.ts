import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { V1ConfigMap } from '@kubernetes/client-node';
import { type PublicKey, parsePublicKeys } from '../../contract/signature.ts';
import type { InstallObjects } from './kubernetes.ts';
import { type KeySecret, keySecretOf, nextStep, rfc3339, withKeys } from './rotation.ts';

const SECRET = 'device-mounter-signing';
const PUBLIC = 'device-mounter-signing-public';
const PRIVATE_FILE = 'private.pem';
const PUBLIC_FILE = 'public.pem';
/** A key that signs is replaced after this time. */
const LIFE_MS = 90 * 24 * 3_600_000;
/**
 * A key that signs no more still begins requests for this time: a request may wait for an hour, and kubelets need a moment to bring the next
 * key to the apiserver.
 */
const LAST_REQUESTS_MS = 2 * 3_600_000;

/**
 * Makes the key that signs requests, publishes its public part, and replaces it when it is old: one step at each call. Answers the public
 * keys; undefined when another replica was faster, or there is more to do: call again then.
 */
export async function keepSigningKeys(
  objects: InstallObjects,
  nowMs: number,
): Promise<readonly PublicKey[] | undefined> {
  const secrets = objects.secret(SECRET);
  const secret = await secrets.get();
  if (secret === undefined) {
    const { name } = secrets;
    const empty = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'Opaque',
      metadata: { name, namespace: objects.namespace },
    };
    await secrets.write(withKeys(empty, { current: newKey(), sinceMs: nowMs }));
    return undefined;
  }
  const keys = keySecretOf(secret, [PRIVATE_FILE]);
  const maps = objects.configMap(PUBLIC);
  const map = await maps.get();
  const published = parsed(map);
  const wanted = publishedOf(keys, published, nowMs);
  if (wanted !== published) {
    await maps.write(withPublicKeys(map, objects.namespace, wanted));
    return undefined;
  }
  const step = await nextStep(keys, nowMs, nowMs - keys.sinceMs >= LIFE_MS, async () => newKey());
  if (step === undefined) return published;
  await secrets.write(withKeys(secret, step));
  return undefined;
}

function newKey(): Record<string, string> {
  const { privateKey } = generateKeyPairSync('ed25519');
  return { [PRIVATE_FILE]: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

function parsed(map: V1ConfigMap | undefined): readonly PublicKey[] {
  const text = map?.data?.[PUBLIC_FILE];
  return text === undefined ? [] : parsePublicKeys(text);
}

/** What has to be published; `published` itself when nothing has to change. */
function publishedOf(
  { current, next, sinceMs }: KeySecret,
  published: readonly PublicKey[],
  nowMs: number,
): readonly PublicKey[] {
  const signing = [current, next].flatMap((files) => (files === undefined ? [] : [publicKeyOf(files)]));
  const isSigning = ({ key }: PublicKey): boolean => signing.some((other) => other.equals(key));
  const added = signing.filter((key) => !published.some((other) => other.key.equals(key)));
  const retires = (known: PublicKey): boolean =>
    known.retiredAtMs === undefined && !isSigning(known) && nowMs - sinceMs >= LAST_REQUESTS_MS;
  if (added.length === 0 && !published.some(retires)) return published;
  const kept = published.map((known) => (retires(known) ? { ...known, retiredAtMs: nowMs } : known));
  return [...added.map((key) => ({ key })), ...kept];
}

function publicKeyOf(files: Readonly<Record<string, string>>): KeyObject {
  return createPublicKey(createPrivateKey(files[PRIVATE_FILE] ?? ''));
}

function withPublicKeys(map: V1ConfigMap | undefined, namespace: string, keys: readonly PublicKey[]): V1ConfigMap {
  const blocks = keys.map(({ key, retiredAtMs }) => {
    const pem = key.export({ type: 'spki', format: 'pem' }).toString();
    return retiredAtMs === undefined ? pem : `# retired ${rfc3339(retiredAtMs)}\n${pem}`;
  });
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: PUBLIC, namespace },
    ...map,
    data: { ...map?.data, [PUBLIC_FILE]: blocks.join('') },
  };
}
