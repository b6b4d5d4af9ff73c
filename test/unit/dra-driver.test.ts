import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { KubeAnswer } from '../../deploy/local/kube-api.ts';
import { cdiDevicesOf } from '../../node-worker/drivers/cdi.ts';
import { nodesText } from '../../node-worker/drivers/nodes-text.ts';
import { callOnce, loadService } from '../../proto/services.ts';
import { DraDriver } from '../device-plugin/dra-driver.ts';
import { memoryHost } from '../node-worker/memory-host.ts';
import { eventually } from '../workflows/outcome.ts';

const DRIVER = 'gpu.e2e.example.com';
const CLAIM = { namespace: 'default', name: 'gpu-of-web', uid: 'claim-uid' };
const CLAIMS = '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims';
const SLICES = '/apis/resource.k8s.io/v1/resourceslices';

let dir: string;
let driver: DraDriver;
let clients: Client[];
let objects: Map<string, unknown>;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'dra-'));
  clients = [];
  objects = new Map();
  const devices = {
    'gpu-0': { deviceNodes: [{ path: '/dev/gpu0', type: 'c', major: 195, minor: 42 }] },
    'gpu-1': {},
  } as const;
  const node = { name: 'n1', kubeletDir: dir, cdiDir: join(dir, 'cdi') };
  driver = new DraDriver({ driver: DRIVER, devices }, node, send);
});
afterEach(async () => {
  await driver.close();
  for (const client of clients) client.close();
  rmSync(dir, { recursive: true });
});

/** kube-apiserver with these objects only. */
async function send(method: string, path: string, body?: unknown): Promise<KubeAnswer> {
  if (method === 'POST') {
    const { metadata } = body as { readonly metadata: { readonly name: string } };
    objects.set(`${path}/${metadata.name}`, body);
    return { status: 201, body };
  }
  const found = objects.get(path);
  if (method === 'DELETE') objects.delete(path);
  return found === undefined ? { status: 404, body: 'not found' } : { status: 200, body: found };
}

/** The claim with these of the driver's devices, and one of another driver. */
function allocate(...devices: readonly string[]): void {
  const own = devices.map((device) => ({ request: 'gpu', driver: DRIVER, pool: 'n1', device }));
  const results = [...own, { request: 'net', driver: 'net.example.com', pool: 'n1', device: 'net-0' }];
  const status = { allocation: { devices: { results } } };
  objects.set(`${CLAIMS}/${CLAIM.name}`, { metadata: { uid: CLAIM.uid }, status });
}

/** What the kubelet calls. */
function call<T>(
  socket: string,
  service: 'DRAPlugin' | 'PluginRegistration',
  method: string,
  request: object,
): Promise<T> {
  const client = new Client(`unix:${join(dir, socket)}`, credentials.createInsecure());
  clients.push(client);
  return callOnce<T>(client, loadService(service), method, request, { timeoutMs: 60_000 });
}
const claims = (method: string) =>
  call<{ claims: Record<string, { devices?: readonly object[]; error: string }> }>(
    `plugins/${DRIVER}/dra.sock`,
    'DRAPlugin',
    method,
    { claims: [CLAIM] },
  );

/** As the kubelet does when it finds the socket. */
async function register(status: object = { pluginRegistered: true }): Promise<unknown> {
  const socket = `plugins_registry/${DRIVER}-reg.sock`;
  await eventually(
    () => readdirSync(dir).includes('plugins_registry') && readdirSync(join(dir, 'plugins_registry')).length > 0,
  );
  const info = await call(socket, 'PluginRegistration', 'GetInfo', {});
  await call(socket, 'PluginRegistration', 'NotifyRegistrationStatus', status);
  return info;
}

test('a DRA driver registers, and publishes its devices then', async () => {
  const starting = driver.start();
  expect(objects.size).toBe(0);
  expect(await register()).toEqual({
    type: 'DRAPlugin',
    name: DRIVER,
    endpoint: `/var/lib/kubelet/plugins/${DRIVER}/dra.sock`,
    supportedVersions: ['v1.DRAPlugin'],
  });
  await starting;
  expect([...objects.values()]).toMatchObject([
    {
      kind: 'ResourceSlice',
      spec: { driver: DRIVER, nodeName: 'n1', devices: [{ name: 'gpu-0' }, { name: 'gpu-1' }] },
    },
  ]);
});

test('a DRA driver that the kubelet refuses says why, and publishes nothing', async () => {
  const starting = expect(driver.start()).rejects.toThrow('no such version');
  await register({ pluginRegistered: false, error: 'no such version' });
  await starting;
  expect(objects.size).toBe(0);
});

test('a DRA driver gives its devices of a claim by a CDI spec, which goes with the claim', async () => {
  const starting = driver.start();
  await register();
  await starting;
  allocate('gpu-0');
  const prepared = await claims('NodePrepareResources');
  const cdi = `${DRIVER}/claim=${CLAIM.uid}-gpu-0`;
  expect(prepared.claims[CLAIM.uid]).toMatchObject({
    error: '',
    devices: [{ requestNames: ['gpu'], poolName: 'n1', deviceName: 'gpu-0', cdiDeviceIds: [cdi] }],
  });
  const [file = ''] = readdirSync(join(dir, 'cdi'));
  const host = memoryHost({ [`/var/run/cdi/${file}`]: readFileSync(join(dir, 'cdi', file), 'utf8') });
  expect(cdiDevicesOf([cdi], host).map(({ nodes }) => nodesText(nodes))).toEqual(['/dev/gpu0 (c 195:42 rwm)']);
  expect((await claims('NodeUnprepareResources')).claims).toEqual({ [CLAIM.uid]: { error: '' } });
  expect(readdirSync(join(dir, 'cdi'))).toEqual([]);
});

test('a DRA driver says which claim it cannot prepare', async () => {
  const starting = driver.start();
  await register();
  await starting;
  expect((await claims('NodePrepareResources')).claims[CLAIM.uid]?.error).toContain('404');
  objects.set(`${CLAIMS}/${CLAIM.name}`, { metadata: { uid: 'made anew' } });
  expect((await claims('NodePrepareResources')).claims[CLAIM.uid]?.error).toBe('claim gpu-of-web is another one');
});

test('a DRA driver that is closed leaves no file and no slice', async () => {
  const starting = driver.start();
  await register();
  await starting;
  allocate('gpu-1');
  await claims('NodePrepareResources');
  await driver.close();
  expect(readdirSync(join(dir, 'cdi'))).toEqual([]);
  expect(readdirSync(join(dir, 'plugins_registry'))).toEqual([]);
  expect([...objects.keys()].filter((path) => path.startsWith(SLICES))).toEqual([]);
});
