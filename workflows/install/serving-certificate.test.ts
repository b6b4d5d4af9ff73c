import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { V1Secret } from '@kubernetes/client-node';
import { createAuthority, issue } from '../../process/certificates.ts';
import { MemoryKube } from '../../test/install/memory-kube.ts';
import { type InstallObjects, installObjects } from './kubernetes.ts';
import { keepServingCertificate, servingAuthorities, servingName } from './serving-certificate.ts';

const SERVING = '/api/v1/namespaces/dm/secrets/device-mounter-apiserver-tls';
const AUTHORITY = '/api/v1/namespaces/dm/secrets/device-mounter-ca';
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Longer than this machine ever stands still. */
const NEVER_MS = 600_000;
const NAME = 'device-mounter-apiserver.dm.svc';

let kube: MemoryKube;
let replicas: readonly [InstallObjects, InstallObjects];
beforeEach(async () => {
  kube = await new MemoryKube().start();
  const replica = () => installObjects(kube.config(), 'dm', NEVER_MS);
  replicas = [replica(), replica()];
});
afterEach(() => kube.stop());

/** As the control worker does it: again until there is nothing more to do. */
async function settled(objects: InstallObjects, nowMs: number): Promise<void> {
  while (!(await keepServingCertificate(objects, nowMs)));
}

const bothSettled = (nowMs: number) => Promise.all(replicas.map((objects) => settled(objects, nowMs)));

interface Serving {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

function serving(path = SERVING): Serving {
  const text = (name: string) =>
    Buffer.from((kube.get(path) as V1Secret | undefined)?.data?.[name] ?? '', 'base64').toString();
  return { cert: text('tls.crt'), key: text('tls.key'), ca: text('ca.crt') };
}

/** Whether the next authority is known and not used yet. */
const nearRotation = (): boolean => (kube.get(AUTHORITY) as V1Secret | undefined)?.data?.['next-tls.crt'] !== undefined;

const certificatesIn = (pem: string): X509Certificate[] =>
  pem.split(/(?<=-----END CERTIFICATE-----\n)/).map((text) => new X509Certificate(text));

/** Whether someone who believes `ca` believes the certificate at that time. Node's TLS knows no other time than now. */
function isBelieved(cert: string, ca: string, nowMs: number): boolean {
  const lives = ({ validFromDate, validToDate }: X509Certificate) =>
    Number(validFromDate) < nowMs && nowMs < Number(validToDate);
  const leaf = new X509Certificate(cert);
  return (
    lives(leaf) &&
    certificatesIn(ca).some((issuer) => leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey) && lives(issuer))
  );
}

describe('keepServingCertificate()', () => {
  test('makes one authority and one certificate that serves TLS, however many replicas start at once', async () => {
    await bothSettled(Date.now());
    const { cert, key, ca } = serving();
    expect(await servingAuthorities(replicas[0])).toBe(ca);
    expect((kube.get(SERVING) as V1Secret | undefined)?.type).toBe('kubernetes.io/tls');
    const server = createServer({ cert, key }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const socket = connect({ host: '127.0.0.1', port, ca, servername: servingName('dm') });
    try {
      await once(socket, 'secureConnect');
      expect(socket.getPeerCertificate().subjectaltname).toBe(`DNS:${NAME}, DNS:${NAME}.cluster.local`);
    } finally {
      socket.destroy();
      server.close();
    }
    const writes = kube.writes.length;
    await bothSettled(Date.now() + DAY_MS);
    expect(kube.writes).toHaveLength(writes);
  });

  test('renews certificate and authority in time, and whoever believed is never let down', async () => {
    // Until there is the third authority, and the first has ended.
    const YEARS = 14;
    const startMs = Date.now();
    await settled(replicas[0], startMs);
    const authorities = new Set<string>();
    const leaves = new Set<string>();
    // kubelets bring the certificate late, kube-apiserver has read `ca` an hour ago.
    let served = serving().cert;
    let believed = serving().ca;
    let renewedMs = startMs;
    // A certificate is due after 60 days: looks a day before and a day after, and many while authorities change.
    const pauseMs = (nowMs: number): number => (nearRotation() ? HOUR_MS / 2 : (renewedMs === nowMs ? 59 : 2) * DAY_MS);
    for (let nowMs = startMs; nowMs < startMs + YEARS * 365 * DAY_MS; nowMs += pauseMs(nowMs)) {
      // One replica alone every other time: two of them make everything twice.
      if (nearRotation() || leaves.size % 2 === 0) await bothSettled(nowMs);
      else await settled(replicas[0], nowMs);
      const { cert, ca } = serving();
      if (cert !== served) renewedMs = nowMs;
      const what = new Date(nowMs).toISOString();
      expect([what, isBelieved(cert, believed, nowMs), isBelieved(served, ca, nowMs)]).toEqual([what, true, true]);
      expect(certificatesIn(ca).every(({ validToDate }) => Number(validToDate) > nowMs)).toBe(true);
      [served, believed] = [cert, ca];
      leaves.add(cert);
      authorities.add(serving(AUTHORITY).cert);
    }
    expect(authorities.size).toBe(3);
    // Every 61 days, and with each authority.
    const renewals = (YEARS * 365) / 61;
    expect(leaves.size).toBeGreaterThan(renewals);
    expect(leaves.size).toBeLessThan(renewals + authorities.size);
  });

  test('takes over from a certificate that somebody else made, whose authority stays believed', async () => {
    const other = await createAuthority('other');
    const { certificate, key } = await issue(other, { commonName: NAME, usage: 'server', names: [NAME] });
    const data = { 'tls.crt': certificate, 'tls.key': key, 'ca.crt': other.certificate };
    const base64 = Object.entries(data).map(([name, text]) => [name, Buffer.from(text).toString('base64')]);
    kube.put(SERVING, { type: 'kubernetes.io/tls', data: Object.fromEntries(base64) });
    await settled(replicas[0], Date.now());
    const now = serving();
    expect(isBelieved(now.cert, now.ca, Date.now())).toBe(true);
    expect(isBelieved(certificate, now.ca, Date.now())).toBe(true);
    expect(now.cert).not.toBe(certificate);
  });

  test.each([
    ['is garbage', { 'tls.crt': 'Z2FyYmFnZQ==' }],
    ['has the key of another', {}],
  ])('replaces a certificate that %s', async (_what, data) => {
    await settled(replicas[0], Date.now());
    const before = serving();
    const stored = kube.get(SERVING) as V1Secret | undefined;
    const other = await issue(await createAuthority('other'), { commonName: 'x', usage: 'server' });
    const key = Buffer.from(other.key).toString('base64');
    kube.put(SERVING, { data: { ...stored?.data, 'tls.key': key, ...data } });
    await settled(replicas[0], Date.now());
    expect(serving().ca).toBe(before.ca);
    const leaf = new X509Certificate(serving().cert);
    expect(leaf.checkHost(NAME)).toBe(NAME);
    expect(leaf.checkPrivateKey(createPrivateKey(serving().key))).toBe(true);
    expect(isBelieved(serving().cert, before.ca, Date.now())).toBe(true);
  });
});
