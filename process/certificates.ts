// oxlint-disable-next-line import/no-unassigned-import -- what the library's dependency injection needs before it is loaded
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { isIPv4 } from 'node:net';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

/** A certificate and its P-256 key, both PEM (PKCS #8). */
export interface Credential {
  readonly certificate: string;
  readonly key: string;
}

/** What signs certificates. */
export interface Authority extends Credential {
  readonly signingKey: webcrypto.CryptoKey;
}

export interface LeafRequest {
  readonly commonName: string;
  /** Kubernetes reads it as the user's group. */
  readonly organization?: string;
  readonly usage: 'client' | 'server';
  /** DNS names and IPv4 addresses. */
  readonly names?: readonly string[];
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const USAGES = { client: ExtendedKeyUsage.clientAuth, server: ExtendedKeyUsage.serverAuth } as const;
/** A year. */
const LIFETIME_MS = 365 * 24 * 3_600_000;
/** Clocks of the nodes differ a little; an hour covers a clock that is set right after boot. */
const BACKDATED_MS = 3_600_000;

/** How long a certificate is valid, and from when; in milliseconds. */
export interface Validity {
  readonly nowMs?: number;
  readonly lifetimeMs?: number;
}

/** A self-signed certificate authority. */
export async function createAuthority(commonName: string, validity: Validity = {}): Promise<Authority> {
  const keys = await createKeys();
  const extensions = [
    new BasicConstraintsExtension(true, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ];
  const name = nameOf({ commonName });
  const certificate = await X509CertificateGenerator.createSelfSigned({ name, keys, extensions, ...common(validity) });
  const signingKey = keys.privateKey;
  return { signingKey, certificate: `${certificate.toString('pem')}\n`, key: await pemOf(signingKey) };
}

/** The authority whose certificate and P-256 key were stored. */
export async function authorityOf({ certificate, key }: Credential): Promise<Authority> {
  const der = PemConverter.decodeFirst(key);
  const signingKey = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
  return { certificate, key, signingKey };
}

/** A certificate with a key of its own, signed by `authority`. */
export async function issue(authority: Authority, request: LeafRequest, validity: Validity = {}): Promise<Credential> {
  const { publicKey, privateKey } = await createKeys();
  const certificate = await X509CertificateGenerator.create({
    issuer: new X509Certificate(authority.certificate).subject,
    subject: nameOf(request),
    publicKey,
    signingKey: authority.signingKey,
    extensions: extensionsOf(request),
    ...common(validity),
  });
  return { certificate: `${certificate.toString('pem')}\n`, key: await pemOf(privateKey) };
}

function extensionsOf({ usage, names = [] }: LeafRequest): Extension[] {
  const extensions: Extension[] = [
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([USAGES[usage]]),
  ];
  if (names.length === 0) return extensions;
  const alternatives = names.map((value) => ({ type: isIPv4(value) ? ('ip' as const) : ('dns' as const), value }));
  return [...extensions, new SubjectAlternativeNameExtension(alternatives)];
}

function common({ nowMs = Date.now(), lifetimeMs = LIFETIME_MS }: Validity) {
  return {
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(nowMs + lifetimeMs),
    signingAlgorithm: ALGORITHM,
  };
}

function nameOf({ commonName, organization }: Pick<LeafRequest, 'commonName' | 'organization'>): JsonName {
  const groups = organization === undefined ? [] : [{ O: [organization] }];
  return [...groups, { CN: [commonName] }];
}

const createKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  return `${PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), PemConverter.PrivateKeyTag)}\n`;
}
