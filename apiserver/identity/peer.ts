import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

/** The client certificate of a connection. */
export interface Peer {
  readonly certificate: X509Certificate;
  /**
   * OpenSSL's verdict at the handshake: signatures, validity and purpose are right for one of the CAs the server had then. Which one
   * it was, and whether it is still trusted, `isAnchored` tells.
   */
  readonly verified: boolean;
}

/** The certificate that the client showed, if it did. */
export function peerOf(socket: TLSSocket): Peer | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? undefined : { certificate, verified: socket.authorized };
}

/**
 * Whether one of `cas` has signed the certificate, and both are valid at `now`. Node (24.21) does not show a server the intermediate
 * certificates that a client sends, so an intermediate CA has to be among `cas`, beside its root.
 */
export function isAnchored({ certificate }: Peer, cas: readonly X509Certificate[], now: Date): boolean {
  return isValid(certificate, now) && cas.some((ca) => isValid(ca, now) && hasIssued(ca, certificate));
}

function hasIssued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function isValid(certificate: X509Certificate, now: Date): boolean {
  return certificate.validFromDate <= now && now < certificate.validToDate;
}

/** Subject of a certificate as Kubernetes reads it: CN is the user, O the groups. Undefined without exactly one CN. */
export function subjectOf(
  certificate: X509Certificate,
): { readonly commonName: string; readonly organizations: readonly string[] } | undefined {
  const subject = certificate.toLegacyObject().subject as
    | { readonly CN?: string | string[]; readonly O?: string | string[] }
    | undefined;
  const commonName = subject?.CN;
  if (typeof commonName !== 'string' || commonName === '') return undefined;
  return { commonName, organizations: [subject?.O ?? []].flat() };
}
