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
  X509CertificateGenerator,
} from '@peculiar/x509';

/** A certificate and its P-256 key, both PEM (PKCS #8). */
export interface Credential {
  readonly certificate: string;
  readonly key: string;
}

/** What signs certificates. */
export interface Authority extends Credential {
  readonly commonName: string;
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
const LIFETIME_MS = 365 * 24 * 3_600_000;
/** Clocks of containers and host are one; an hour covers a clock that is set right after boot. */
const BACKDATED_MS = 3_600_000;

/** A self-signed certificate authority. */
export async function createAuthority(commonName: string): Promise<Authority> {
  const keys = await createKeys();
  const extensions = [
    new BasicConstraintsExtension(true, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ];
  const name = nameOf({ commonName });
  const certificate = await X509CertificateGenerator.createSelfSigned({ name, keys, extensions, ...common() });
  const signingKey = keys.privateKey;
  return { commonName, signingKey, certificate: certificate.toString('pem'), key: await pemOf(signingKey) };
}

/** A certificate with a key of its own, signed by `authority`. */
export async function issue(authority: Authority, request: LeafRequest): Promise<Credential> {
  const { publicKey, privateKey } = await createKeys();
  const certificate = await X509CertificateGenerator.create({
    issuer: nameOf({ commonName: authority.commonName }),
    subject: nameOf(request),
    publicKey,
    signingKey: authority.signingKey,
    extensions: extensionsOf(request),
    ...common(),
  });
  return { certificate: certificate.toString('pem'), key: await pemOf(privateKey) };
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

function common() {
  const now = Date.now();
  return {
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(now + LIFETIME_MS),
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
