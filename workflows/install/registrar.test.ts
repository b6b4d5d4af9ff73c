import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { V1APIService } from '@kubernetes/client-node';
import { type Authority, type Credential, createAuthority, issue } from '../../process/certificates.ts';
import { MemoryKube } from '../../test/install/memory-kube.ts';
import { eventually } from '../../test/workflows/outcome.ts';
import { installObjects } from './kubernetes.ts';
import { ApiRegistrar, PATIENCE_MS, type RegistrarOptions } from './registrar.ts';

const NAMESPACE = '/api/v1/namespaces/dm';
const SECRET = `${NAMESPACE}/secrets/device-mounter-apiserver-tls`;
const SERVICE = `${NAMESPACE}/services/device-mounter-apiserver`;
const SLICE = '/apis/discovery.k8s.io/v1/namespaces/dm/endpointslices/one';
const OWNER = '/apis/rbac.authorization.k8s.io/v1/clusterroles/device-mounter';
const API = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.device-mounter.io';
const NAME = 'device-mounter-apiserver.dm.svc';
const base64 = (text: string): string => Buffer.from(text).toString('base64');

let authority: Authority;
let credential: Credential;
let kube: MemoryKube;
let apiserver: Server;
let [readyz, nowMs] = [0, 0];
let [told, running]: [string[], ApiRegistrar[]] = [[], []];
beforeAll(async () => {
  authority = await createAuthority('serving');
  credential = await issue(authority, { commonName: NAME, usage: 'server', names: [NAME] });
});
beforeEach(async () => {
  [readyz, nowMs, told, running] = [200, 0, [], []];
  kube = await new MemoryKube().start();
  apiserver = createServer({ cert: credential.certificate, key: credential.key }, (req, res) => {
    res.writeHead(req.url === '/readyz' ? readyz : 404).end();
  }).listen(0, '127.0.0.1');
  await once(apiserver, 'listening');
  kube.put(NAMESPACE, { status: { phase: 'Active' } });
  kube.put(OWNER, {});
  const { port } = apiserver.address() as AddressInfo;
  kube.put(SERVICE, { spec: { clusterIP: '127.0.0.1', ports: [{ port }] } });
  ready(true);
  believe(authority);
});
afterEach(() => {
  for (const registrar of running) registrar.stop();
  apiserver.closeAllConnections();
  apiserver.close();
  kube.stop();
});

const say = (_more: object, message: string): void => void told.push(message);

function registrar(more: Partial<RegistrarOptions> = {}): ApiRegistrar {
  const made = new ApiRegistrar({
    objects: installObjects(kube.config(), 'dm', 600_000),
    owner: 'device-mounter',
    injectFrom: undefined,
    log: { info: say, warn: say },
    nowMs: () => nowMs,
    periodMs: 20,
    answerMs: 600_000,
    ...more,
  });
  running.push(made);
  return made;
}

function ready(is: boolean): void {
  const labels = { 'kubernetes.io/service-name': 'device-mounter-apiserver' };
  kube.put(SLICE, { metadata: { labels }, endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: is } }] });
}
function believe(...authorities: readonly Credential[]): void {
  kube.put(SECRET, { data: { 'ca.crt': base64(authorities.map(({ certificate }) => certificate).join('')) } });
}
function endNamespace(): void {
  kube.put(NAMESPACE, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
}
/** What kube-apiserver found when it asked the apiserver. */
function reached(is: boolean): void {
  const condition = is ? { status: 'True', reason: 'Passed' } : { status: 'False', reason: 'FailedDiscoveryCheck' };
  kube.put(API, { ...api(), status: { conditions: [{ type: 'Available', ...condition }] } });
}
const api = () => kube.get(API) as V1APIService | undefined;
const writes = (): string[] => kube.writes.map((write) => write.split(' ')[0] ?? '');

describe('ApiRegistrar', () => {
  test('registers the API once the apiserver answers, to be deleted with its owner', async () => {
    const one = registrar();
    ready(false);
    await one.look();
    ready(true);
    readyz = 503;
    await one.look();
    believe(await createAuthority('serving'));
    readyz = 200;
    await one.look();
    expect(api()).toBeUndefined();
    expect(told).toEqual([
      expect.stringMatching(/^cannot register the API yet: .*503/),
      expect.stringMatching(/^cannot register the API yet: .*(certificate|signature)/),
    ]);
    believe(authority);
    await one.look();
    const uid = (kube.get(OWNER) as { metadata: { uid: string } } | undefined)?.metadata.uid;
    expect(api()).toMatchObject({
      metadata: { ownerReferences: [{ kind: 'ClusterRole', name: 'device-mounter', uid }] },
      spec: {
        group: 'device-mounter.io',
        version: 'v1alpha1',
        service: { namespace: 'dm', name: 'device-mounter-apiserver', port: (apiserver.address() as AddressInfo).port },
        caBundle: base64(authority.certificate),
      },
    });
  });

  test('with two replicas writes it once, and not again', async () => {
    const [one, two] = [registrar(), registrar()];
    for (let looks = 0; looks < 5; looks += 1) await Promise.all([one.look(), two.look()]);
    expect(writes().filter((method) => method !== 'POST')).toEqual([]);
    expect(told.filter((sentence) => sentence === 'registered the API')).toHaveLength(1);
  });

  test('takes it away as soon as the namespace is ending, and never registers again', async () => {
    const [one, two] = [registrar({ periodMs: 60_000 }), registrar({ periodMs: 60_000 })];
    void one.run();
    void two.run();
    await eventually(() => api());
    endNamespace();
    await eventually(() => api() === undefined);
    // Also when one of another replica comes late.
    kube.put(API, { spec: { service: { namespace: 'dm', name: 'device-mounter-apiserver' } } });
    await eventually(() => api() === undefined);
    await one.look();
    expect(api()).toBeUndefined();
  });

  test('registers nothing while the namespace is ending, also before the watch has said so', async () => {
    endNamespace();
    await registrar().look();
    expect(api()).toBeUndefined();
  });

  test('takes away what it was writing while the namespace began to end', async () => {
    kube.gate = (method) => {
      if (method === 'POST') endNamespace();
    };
    void registrar().run();
    await eventually(() => writes().includes('DELETE'));
    expect(api()).toBeUndefined();
  });

  test('takes nothing away that has come instead of it', async () => {
    const one = registrar();
    await one.look();
    kube.remove(OWNER);
    kube.gate = (method) => {
      if (method !== 'DELETE') return;
      const before = api();
      kube.remove(API);
      kube.put(API, { spec: before?.spec });
    };
    await one.look();
    expect(writes()).toContain('DELETE');
    expect(api()).toBeDefined();
  });

  test('after SIGTERM only takes it away', async () => {
    const one = registrar();
    one.registerNoMore();
    await one.look();
    expect(api()).toBeUndefined();
    await registrar().look();
    expect(api()).toBeDefined();
    void one.run();
    endNamespace();
    await eventually(() => api() === undefined);
  });

  test('takes it away when its owner is deleted, also one that is kept by a finalizer', async () => {
    const one = registrar();
    await one.look();
    kube.put(OWNER, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
    await one.look();
    expect(api()).toBeUndefined();
    kube.put(OWNER, { metadata: {} });
    await one.look();
    expect(api()).toBeDefined();
    kube.remove(OWNER);
    await one.look();
    expect(api()).toBeUndefined();
  });

  test('takes it away when no apiserver has been ready for a while, and registers the next one', async () => {
    const one = registrar();
    await one.look();
    ready(false);
    nowMs += PATIENCE_MS - 1;
    await one.look();
    expect(api()).toBeDefined();
    nowMs += 1;
    await one.look();
    expect(api()).toBeUndefined();
    ready(true);
    await one.look();
    expect(api()).toBeDefined();
  });

  test('takes it away when kube-apiserver cannot reach the apiserver, and tries again later and later', async () => {
    const replicas = [registrar(), registrar()];
    const look = () => Promise.all(replicas.map((one) => one.look()));
    await look();
    for (const afterMs of [30_000, 60_000, 120_000, 240_000, 480_000, 960_000, 1_000_000]) {
      reached(false);
      await look();
      nowMs += PATIENCE_MS;
      await look();
      await look();
      nowMs += afterMs - 1_000;
      await look();
      expect(api()).toBeUndefined();
      nowMs += 1_000;
      await look();
      expect(api()).toBeDefined();
    }
    reached(true);
    nowMs += PATIENCE_MS;
    await look();
    expect(api()).toBeDefined();
    // What was is forgotten.
    reached(false);
    await look();
    nowMs += PATIENCE_MS;
    await look();
    await look();
    nowMs += 29_000;
    await look();
    expect(api()).toBeUndefined();
    nowMs += 1_000;
    await look();
    expect(api()).toBeDefined();
  });

  test('leaves one alone that leads to another Service, and says so once', async () => {
    kube.put(API, { spec: { service: { namespace: 'other', name: 'device-mounter-apiserver' } } });
    const one = registrar();
    for (let looks = 0; looks < 3; looks += 1) await one.look();
    kube.remove(OWNER);
    await one.look();
    expect(writes()).toEqual([]);
    expect(told).toEqual([expect.stringContaining('leads to Service "other/device-mounter-apiserver"')]);
  });

  test('goes on after an error, and says it once', async () => {
    kube.mayDo = ({ resource }) => resource !== 'clusterroles';
    const one = registrar();
    void one.run();
    await eventually(() => told.length > 0);
    await eventually(() => kube.reads.filter((path) => path.includes('clusterroles')).length > 2);
    kube.mayDo = () => true;
    await eventually(() => told.length > 1);
    expect(told).toEqual([
      'cannot look after the APIService: Error: kube-apiserver answers 403: cannot get clusterroles device-mounter',
      'registered the API',
    ]);
  });

  test('brings up to date what is there: authorities, owner, priority', async () => {
    const one = registrar();
    await one.look();
    const made = api()?.metadata?.uid;
    const next = await createAuthority('next');
    believe(authority, next);
    await one.look();
    expect(api()?.spec?.caBundle).toBe(base64(authority.certificate + next.certificate));
    kube.put(API, { ...api(), metadata: { ...api()?.metadata, ownerReferences: [] } });
    await one.look();
    expect(api()).toMatchObject({ metadata: { uid: made, ownerReferences: [{ name: 'device-mounter' }] } });
    // Not with authorities by which the apiserver cannot be believed yet.
    believe(next);
    await one.look();
    expect(api()?.spec?.caBundle).toBe(base64(authority.certificate + next.certificate));
  });

  test('leaves caBundle to cert-manager once it has made it', async () => {
    const one = registrar({ injectFrom: 'dm/device-mounter-apiserver-tls' });
    await one.look();
    expect(api()?.metadata?.annotations).toEqual({
      'cert-manager.io/inject-ca-from': 'dm/device-mounter-apiserver-tls',
    });
    expect(api()?.spec?.caBundle).toBe(base64(authority.certificate));
    kube.put(API, { ...api(), spec: { ...api()?.spec, caBundle: 'aW5qZWN0ZWQ=' } });
    const before = kube.writes.length;
    await one.look();
    expect(kube.writes).toHaveLength(before);
    kube.put(API, { ...api(), spec: { ...api()?.spec, versionPriority: 100 } });
    await one.look();
    expect(api()?.spec).toMatchObject({ versionPriority: 10, caBundle: 'aW5qZWN0ZWQ=' });
  });
});
