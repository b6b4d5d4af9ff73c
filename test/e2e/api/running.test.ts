import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { type Answer, type SendOptions, send } from '../../apiserver/send.ts';
import { NODES } from '../cluster.ts';
import { deviceMount, FUSE, mountOk, slavesGone, slavesOf, startPod, TUN, unmount } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { until } from '../until.ts';
import { aggregated, auditIdOf, behalfOf, deployedServer, dryMount, KEYS, mountPath, ROOT } from './direct.ts';
import { OwnServer } from './own-server.ts';
import { answerAbout } from './patience.ts';

const ROOT_USER = behalfOf('root', 'system:masters');
const node = NODES.at(-1)?.name ?? '';
let server: OwnServer;
/** Has the only /dev/fuse of the node, so that whoever asks for it waits. */
let holder: string;
let pod: string;

beforeAll(async () => {
  [holder, pod] = await Promise.all([startPod(node), startPod(node)]);
  await mountOk(holder, FUSE);
  // Long enough for all requests of the test that stops it, on a machine that stands still for seconds.
  server = await OwnServer.start(['--shutdown-delay=12']);
  await server.register();
});

afterAll(async () => {
  await server?.stop();
  await removeTargets([holder, pod]);
  await expectNoPods();
});

const direct = (options: SendOptions) => send(server.endpoint, { client: KEYS.proxy, headers: ROOT_USER, ...options });
const dryRun = (): SendOptions => mounting('&dryRun=All', TUN);
function mounting(query: string, resource: string = FUSE, more: object = {}): SendOptions {
  const body = JSON.stringify({ resources: { [resource]: '1' }, ...more });
  return { method: 'PUT', path: mountPath(pod, `device_type=HOSTDEV${query}`), body };
}

const mountOf = ({ json }: Answer) => json as unknown as DeviceMount;

describe('a mount that has to wait', () => {
  test('is answered before the client gives up, and goes on', async () => {
    // kube-apiserver itself would answer 504 after the 12 s.
    const { answer } = await answerAbout(pod, '&timeout=12s');
    expect(answer.code).toBe(202);
    expect(mountOf(answer).status.phase).toBe('Pending');
    expect((await unmount(pod)).status).toBe(200);
    await slavesGone(pod);
  });

  test('goes on when its client has gone', async () => {
    const gone = new AbortController();
    const name = `left-${pod}`;
    const left = aggregated({ ...mounting('&queue=true&wait_second=60', FUSE, { name }), signal: gone.signal });
    const failed = expect(left).rejects.toThrow('abort');
    await until('its slave', async () => (await slavesOf(pod)).length === 1);
    gone.abort();
    await failed;
    const line = await until('its line in the log', async () =>
      server.logLines.find(({ mount }) => mount === `default/${name}`),
    );
    expect(line).toMatchObject({ code: 499, aborted: true, user: 'admin' });
    expect((await unmount(holder)).status).toBe(200);
    await until('the mount', async () => (await deviceMount(name))?.status.phase === 'Mounted');
    const { text } = await direct({ path: '/metrics' });
    expect(text).toMatch(/apiserver_request_aborts_total\{verb="PUT",resource="pods"\} 1/);
    expect((await unmount(pod)).status).toBe(200);
    await Promise.all([slavesGone(pod), slavesGone(holder)]);
    await mountOk(holder, FUSE);
  });

  test('is one, however often it is asked for at the same time', async () => {
    const same = mounting('&wait_second=30', TUN, { idempotencyKey: `once-${pod}` });
    const answers = await Promise.all([aggregated(same), direct(same), aggregated(same), direct(same)]);
    expect(answers.map(({ code }) => code)).toEqual([200, 200, 200, 200]);
    expect(new Set(answers.map((answer) => mountOf(answer).metadata.uid)).size).toBe(1);
    expect(await slavesOf(pod)).toHaveLength(1);
    expect((await unmount(pod)).status).toBe(200);
    await slavesGone(pod);
  });
});

describe('each request', () => {
  test('has one line in the log, with the id that kube-apiserver’s audit log has', async () => {
    const answer = await aggregated({ ...dryRun(), headers: ['Audit-ID', 'contract-audit-1'] });
    expect(auditIdOf(answer)).toBe('contract-audit-1');
    const line = await until('the line', async () => server.lineOf(answer));
    expect(line).toMatchObject({ method: 'PUT', code: 200, user: 'admin', decision: 'allow' });
  });
});

/** A TLS connection that offers these protocols. */
function connected(...ALPNProtocols: string[]): Promise<TLSSocket> {
  const { host, port, ca, servername } = server.endpoint;
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, ca, servername: servername ?? host, ALPNProtocols }, () => resolve(socket));
    socket.once('error', reject);
  });
}

describe('a client of HTTP/2', () => {
  test('gets HTTP/1.1 when it offers that, as Go’s does', async () => {
    const socket = await connected('h2', 'http/1.1');
    expect(socket.alpnProtocol).toBe('http/1.1');
    socket.destroy();
  });

  test('that speaks nothing else does no harm', async () => {
    await expect(connected('h2')).rejects.toThrow(/no application protocol/);
    const socket = await connected('http/1.1');
    // Whether it is ended or reset is the server's choice.
    const closed = new Promise((resolve) => socket.once('error', () => undefined).once('close', resolve));
    socket.resume().end('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    await closed;
    expect((await direct(dryRun())).code).toBe(200);
  });
});

async function presented(): Promise<string> {
  const socket = await connected('http/1.1');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

describe('the serving certificate', () => {
  test('is replaced without a restart; a pair that does not fit leaves the one before', async () => {
    const first = await presented();
    const next = server.issue();
    server.writePair({ cert: server.issue().cert, key: next.key });
    await until('the bad pair to be seen', async () =>
      server.logged('cannot read the serving certificate, the one before stays'),
    );
    expect(await presented()).toBe(first);
    server.writePair(next);
    await until('the new one', async () => (await presented()) !== first);
    expect((await aggregated(dryRun())).code).toBe(200);
    expect((await direct({ path: '/metrics' })).text).toContain('apiserver_request_total{');
  });
});

describe('a server that does not know yet whom to believe', () => {
  test('is alive and serves discovery, but is not ready and believes nobody', async () => {
    const early = await OwnServer.start([], (relay) => relay.goAway());
    const mounted = () => send(early.endpoint, { ...dryMount(pod), client: KEYS.proxy, headers: ROOT_USER });
    const asked = (path: string) => send(early.endpoint, { path });
    expect((await asked('/livez')).code).toBe(200);
    expect(await asked('/readyz')).toMatchObject({ code: 503, text: expect.stringContaining('[-]authentication') });
    expect((await asked(ROOT)).code).toBe(200);
    expect((await mounted()).code).toBe(401);
    early.relay.away = false;
    await early.ready();
    expect((await asked('/readyz')).code).toBe(200);
    expect((await mounted()).code).toBe(200);
    await early.stop();
  });
});

describe('a server that is told to stop', () => {
  test('is not ready, serves on for a while, takes nothing new then, answers who waits, and ends well', async () => {
    const name = `drained-${pod}`;
    const waiting = aggregated(mounting('&queue=true&wait_second=38', FUSE, { name }));
    await until('its slave', async () => (await slavesOf(pod)).length === 1);
    server.process.kill('SIGTERM');
    await until('it to say so', async () => (await direct({ path: '/readyz' })).code === 503);
    expect((await direct({ path: '/readyz/shutdown' })).text).toBe('is stopping');
    expect([(await direct({ path: '/livez' })).code, (await direct(dryRun())).code]).toEqual([200, 200]);
    await until('it to take nothing new', async () => {
      const refused = await direct(dryRun()).catch((err: NodeJS.ErrnoException) => err.code);
      return refused === 'ECONNREFUSED';
    });
    expect(server.process.exitCode).toBeNull();
    // kube-apiserver reaches nobody at this moment.
    const others = { method: 'PUT', path: mountPath(holder, 'device_type=HOSTDEV', 'unmount'), headers: ROOT_USER };
    expect((await send(await deployedServer(), { ...others, client: KEYS.proxy })).code).toBe(200);
    const answer = await waiting;
    expect([answer.code, mountOf(answer).status.phase]).toEqual([200, 'Mounted']);
    expect(await server.exited).toEqual([0, null]);
  });
});
