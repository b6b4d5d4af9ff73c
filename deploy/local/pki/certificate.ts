import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { bits, bool, explicit, implicit, integer, octets, oid, sequence, set, time, utf8 } from './der.ts';

/** A certificate and its P-256 key, both PEM (PKCS #8). */
export interface Credential {
  readonly certificate: string;
  readonly key: string;
}

/** What signs certificates. */
export interface Authority extends Credential {
  readonly commonName: string;
  readonly keyObject: KeyObject;
}

export interface LeafRequest {
  readonly commonName: string;
  /** Kubernetes reads it as the user's group. */
  readonly organization?: string;
  readonly usage: 'client' | 'server';
  /** DNS names and IPv4 addresses. */
  readonly names?: readonly string[];
}

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  subjectAltName: '2.5.29.17',
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
} as const;

const LIFETIME_MS = 365 * 24 * 3_600_000;
/** Clocks of containers and host are one; an hour covers a clock that is set right after boot. */
const BACKDATED_MS = 3_600_000;

const ALGORITHM = sequence(oid(OID.ecdsaWithSha256));
const extension = (id: string, critical: boolean, content: Uint8Array): Buffer =>
  sequence(oid(id), ...(critical ? [bool(true)] : []), octets(content));
const attribute = (id: string, text: string): Buffer => set(sequence(oid(id), utf8(text)));

/** A self-signed certificate authority. */
export function createAuthority(commonName: string): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const extensions = [
    extension(OID.basicConstraints, true, sequence(bool(true))),
    // keyCertSign (bit 5) and cRLSign (bit 6)
    extension(OID.keyUsage, true, bits(Uint8Array.of(0b0000_0110), 1)),
  ];
  const name = nameOf({ commonName });
  const certificate = signed({ issuer: name, subject: name, publicKey, extensions }, privateKey);
  return { commonName, keyObject: privateKey, certificate, key: pemOfKey(privateKey) };
}

/** A certificate with a key of its own, signed by `authority`. */
export function issue(authority: Authority, request: LeafRequest): Credential {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const extensions = [
    // digitalSignature (bit 0)
    extension(OID.keyUsage, true, bits(Uint8Array.of(0b1000_0000), 7)),
    extension(OID.extendedKeyUsage, false, sequence(oid(OID[request.usage]))),
  ];
  const names = request.names ?? [];
  if (names.length > 0) extensions.push(extension(OID.subjectAltName, false, sequence(...names.map(alternativeName))));
  const issuer = nameOf({ commonName: authority.commonName });
  const certificate = signed({ issuer, subject: nameOf(request), publicKey, extensions }, authority.keyObject);
  return { certificate, key: pemOfKey(privateKey) };
}

function nameOf(subject: Pick<LeafRequest, 'commonName' | 'organization'>): Buffer {
  const { commonName, organization } = subject;
  const groups = organization === undefined ? [] : [attribute(OID.organization, organization)];
  return sequence(...groups, attribute(OID.commonName, commonName));
}

/** GeneralName (RFC 5280 section 4.2.1.6): [2] dNSName, [7] iPAddress. */
function alternativeName(name: string): Buffer {
  return isIPv4(name) ? implicit(7, Buffer.from(name.split('.').map(Number))) : implicit(2, Buffer.from(name));
}

interface ToBeSigned {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Buffer[];
}

/** TBSCertificate and Certificate, RFC 5280 section 4.1. */
function signed({ issuer, subject, publicKey, extensions }: ToBeSigned, signer: KeyObject): string {
  const now = Date.now();
  const body = sequence(
    explicit(0, integer(Uint8Array.of(2))),
    integer(Buffer.concat([Uint8Array.of(1), randomBytes(15)])),
    ALGORITHM,
    issuer,
    sequence(time(new Date(now - BACKDATED_MS)), time(new Date(now + LIFETIME_MS))),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions)),
  );
  const certificate = sequence(body, ALGORITHM, bits(sign('sha256', body, signer)));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function pemOfKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}
