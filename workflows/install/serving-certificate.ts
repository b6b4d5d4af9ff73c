import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { V1Secret } from '@kubernetes/client-node';
import type { InstallObjects } from './kubernetes.ts';
import { base64, type Files, type KeySecret, keySecretOf, nextStep, textOf, withKeys } from './rotation.ts';

/** The Service of the apiserver. */
export const SERVICE = 'device-mounter-apiserver';
/** Its certificate, key and authorities; cert-manager's Certificate has the same name. */
export const SERVING_SECRET = 'device-mounter-apiserver-tls';
const AUTHORITY = 'device-mounter-ca';
const CERTIFICATE = 'tls.crt';
const KEY = 'tls.key';
/** As cert-manager calls it: the authorities by which to believe the certificate. */
const AUTHORITIES = 'ca.crt';

const DAY_MS = 24 * 3_600_000;
const AUTHORITY_LIFE_MS = 3_650 * DAY_MS;
const LIFE_MS = 90 * DAY_MS;
/** A certificate is replaced when this part of its life is left. */
const RENEWAL_PART = 1 / 3;

/** The host name in the certificate of the apiserver. */
export function servingName(namespace: string): string {
  return `${SERVICE}.${namespace}.svc`;
}

/** PEM of the authorities by which to believe the apiserver, whoever keeps its certificate. Undefined when there is none yet. */
export async function servingAuthorities(objects: InstallObjects): Promise<string | undefined> {
  const text = textOf((await objects.secret(SERVING_SECRET).get())?.data?.[AUTHORITIES]);
  return text === '' ? undefined : text;
}

/**
 * Makes the authority and the apiserver's certificate, and replaces them long before they end: one step at each call. The next authority is
 * believed for a while before it signs. Answers whether there is nothing more to do at this time.
 */
export async function keepServingCertificate(objects: InstallObjects, nowMs: number): Promise<boolean> {
  const [authorities, servings] = [objects.secret(AUTHORITY), objects.secret(SERVING_SECRET)];
  const stored = await authorities.get();
  if (stored === undefined) {
    const empty = emptySecret(objects.namespace, authorities.name, 'Opaque');
    await authorities.write(withKeys(empty, { current: await newAuthority(nowMs), sinceMs: nowMs }));
    return false;
  }
  const keys = keySecretOf(stored, [CERTIFICATE, KEY]);
  const serving = await servings.get();
  const wanted = await servingFiles(filesOf(serving), keys, objects.namespace, nowMs);
  if (wanted !== undefined) {
    const secret = serving ?? emptySecret(objects.namespace, servings.name, 'kubernetes.io/tls');
    await servings.write({ ...secret, data: { ...secret.data, ...base64(wanted) } });
    return false;
  }
  const isDue = isNearEnd(keys.current[CERTIFICATE] ?? '', nowMs);
  const step = await nextStep(keys, nowMs, isDue, () => newAuthority(nowMs));
  if (step !== undefined) await authorities.write(withKeys(stored, step));
  return step === undefined;
}

function emptySecret(namespace: string, name: string, type: string): V1Secret {
  return { apiVersion: 'v1', kind: 'Secret', type, metadata: { name, namespace } };
}

function filesOf(secret: V1Secret | undefined): Files {
  return Object.fromEntries(Object.entries(secret?.data ?? {}).map(([name, value]) => [name, textOf(value)]));
}

/** What the apiserver's Secret has to hold; undefined when it does. */
async function servingFiles(
  { [CERTIFICATE]: certificate = '', [KEY]: key = '', [AUTHORITIES]: believed = '' }: Files,
  { current, next }: KeySecret,
  namespace: string,
  nowMs: number,
): Promise<Files | undefined> {
  const mustBe = [current, next].flatMap((files) => pemsIn(files?.[CERTIFICATE] ?? ''));
  const others = pemsIn(believed).filter((pem) => !mustBe.includes(pem) && Number(readX509(pem)?.validToDate) > nowMs);
  const bundle = [...mustBe, ...others].join('');
  const name = servingName(namespace);
  const isGood = isFrom(current[CERTIFICATE] ?? '', certificate, key) && !isNearEnd(certificate, nowMs);
  if (isGood && readX509(certificate)?.checkHost(name) !== undefined)
    return bundle === believed ? undefined : { [AUTHORITIES]: bundle };
  const { authorityOf, issue } = await import('../../process/certificates.ts');
  const authority = await authorityOf({ certificate: current[CERTIFICATE] ?? '', key: current[KEY] ?? '' });
  const request = { commonName: name, usage: 'server', names: [name, `${name}.cluster.local`] } as const;
  const issued = await issue(authority, request, { nowMs, lifetimeMs: LIFE_MS });
  return { [CERTIFICATE]: issued.certificate, [KEY]: issued.key, [AUTHORITIES]: bundle };
}

/** Loaded only when something is made: the library takes memory that is not needed otherwise. */
async function newAuthority(nowMs: number): Promise<Files> {
  const { createAuthority } = await import('../../process/certificates.ts');
  // A name of its own, so that nobody takes the next one for it.
  const name = `device-mounter-ca ${new Date(nowMs).toISOString()}`;
  const { certificate, key } = await createAuthority(name, { nowMs, lifetimeMs: AUTHORITY_LIFE_MS });
  return { [CERTIFICATE]: certificate, [KEY]: key };
}

function isFrom(authority: string, certificate: string, key: string): boolean {
  const [issuer, leaf] = [readX509(authority), readX509(certificate)];
  if (issuer === undefined || leaf === undefined) return false;
  try {
    return leaf.verify(issuer.publicKey) && leaf.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/** Also one that cannot be read. */
function isNearEnd(certificate: string, nowMs: number): boolean {
  const read = readX509(certificate);
  if (read === undefined) return true;
  const [from, to] = [read.validFromDate.getTime(), read.validToDate.getTime()];
  return to - nowMs < (to - from) * RENEWAL_PART;
}

function readX509(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

function pemsIn(text: string): readonly string[] {
  return (text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []).map((pem) => `${pem}\n`);
}
