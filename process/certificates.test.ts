import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { type Authority, type Credential, createAuthority, issue } from './certificates.ts';

let authority: Authority;
let server: Credential;
let client: Credential;

beforeAll(async () => {
  authority = await createAuthority('test-ca');
  server = await issue(authority, { commonName: 'server', usage: 'server', names: ['127.0.0.1', 'a.svc'] });
  client = await issue(authority, { commonName: 'system:node:n', organization: 'system:nodes', usage: 'client' });
});

describe('createAuthority()', () => {
  test('makes a certificate that signs itself', () => {
    const certificate = new X509Certificate(authority.certificate);
    expect(certificate.ca).toBe(true);
    expect(certificate.subject).toBe('CN=test-ca');
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
  });
});

describe('issue()', () => {
  test('is signed by the authority and by no other of the same name', async () => {
    const certificate = new X509Certificate(server.certificate);
    expect(certificate.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true);
    const other = new X509Certificate((await createAuthority('test-ca')).certificate);
    expect(certificate.verify(other.publicKey)).toBe(false);
  });

  test('carries user, group, names and purpose', () => {
    const [serving, user] = [new X509Certificate(server.certificate), new X509Certificate(client.certificate)];
    expect(serving.subjectAltName).toBe('IP Address:127.0.0.1, DNS:a.svc');
    expect(serving.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(user.subject).toBe('O=system:nodes\nCN=system:node:n');
    expect(user.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(user.ca).toBe(false);
  });

  test('is valid now, for a year', () => {
    const certificate = new X509Certificate(server.certificate);
    expect(certificate.validFromDate.getTime()).toBeLessThan(Date.now());
    expect(certificate.validToDate.getTime()).toBeGreaterThan(Date.now() + 364 * 24 * 3_600_000);
  });

  test('serves mutual TLS', async () => {
    const ca = authority.certificate;
    const listener = createServer({ ca, cert: server.certificate, key: server.key, requestCert: true });
    const seen = once(listener, 'secureConnection');
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    const socket = connect({ host: '127.0.0.1', port, ca, cert: client.certificate, key: client.key });
    try {
      await once(socket, 'secureConnect');
      const [peer] = (await seen) as [TLSSocket];
      expect(peer.authorized).toBe(true);
      expect(peer.getPeerCertificate().subject.CN).toBe('system:node:n');
      peer.destroy();
    } finally {
      socket.destroy();
      listener.close();
    }
  });
});
