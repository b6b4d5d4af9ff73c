import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { V1Secret } from '@kubernetes/client-node';
import { MemoryKube } from '../install/memory-kube.ts';
import { eventually } from './outcome.ts';
import { TemporalServer } from './temporal-server.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const NAMESPACE = '/api/v1/namespaces/dm';
const API = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.device-mounter.io';
const folder = mkdtempSync(join(tmpdir(), 'control-'));
let kube: MemoryKube;
let temporal: TemporalServer;
let apiserver: Server | undefined;

beforeAll(async () => {
  kube = await new MemoryKube().start();
  kube.put('/api/v1/namespaces/kube-system', {});
  kube.put(NAMESPACE, {});
  kube.put('/apis/rbac.authorization.k8s.io/v1/clusterroles/owner', {});
  writeFileSync(join(folder, 'kubeconfig'), kube.config().exportConfig());
  temporal = await TemporalServer.start();
  await temporal.kill();
});
afterAll(async () => {
  await temporal.stop();
  apiserver?.closeAllConnections();
  apiserver?.close();
  kube.stop();
  rmSync(folder, { recursive: true });
});

/** The process that the Deployment runs. */
function startControlWorker() {
  const flags = ['--namespace=dm', '--certificates=self', '--api-service-owner=owner', '--health-port=0'];
  const where = [`--kubeconfig=${join(folder, 'kubeconfig')}`, `--temporal-address=${temporal.address}`];
  const args = ['--pdeathsig=KILL', process.execPath, '--no-warnings', join(ROOT, 'workflows', 'main.ts')];
  const control = spawn('setpriv', [...args, ...flags, ...where], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: string[] = [];
  createInterface(control.stdout).on('line', (line) => said.push((JSON.parse(line) as { msg: string }).msg));
  return { control, said };
}

/** An apiserver that serves with what is in its Secret, behind its Service. */
async function startApiserver(): Promise<void> {
  const secret = kube.get(`${NAMESPACE}/secrets/device-mounter-apiserver-tls`) as V1Secret;
  const [cert, key] = ['tls.crt', 'tls.key'].map((name) => Buffer.from(secret.data?.[name] ?? '', 'base64'));
  apiserver = createServer({ cert, key }, (_req, res) => void res.end('ok')).listen(0, '127.0.0.1');
  await once(apiserver, 'listening');
  const { port } = apiserver.address() as AddressInfo;
  kube.put(`${NAMESPACE}/services/device-mounter-apiserver`, { spec: { clusterIP: '127.0.0.1', ports: [{ port }] } });
  kube.put('/apis/discovery.k8s.io/v1/namespaces/dm/endpointslices/one', {
    metadata: { labels: { 'kubernetes.io/service-name': 'device-mounter-apiserver' } },
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
  });
}

describe('the control worker', () => {
  test('makes keys and registers the API before there is a Temporal, then serves, and ends in order after SIGTERM', async () => {
    const { control, said } = startControlWorker();
    await eventually(() => kube.get(`${NAMESPACE}/configmaps/device-mounter-signing-public`));
    await eventually(() => kube.get(`${NAMESPACE}/secrets/device-mounter-apiserver-tls`));
    await startApiserver();
    await eventually(() => kube.get(API));
    expect(said).not.toContain('running');
    await temporal.restart();
    await eventually(() => said.includes('running'));
    control.kill('SIGTERM');
    expect(await once(control, 'exit')).toEqual([0, null]);
    expect(said.at(-1)).toBe('stopped');
    expect(kube.get(API)).toBeDefined();
  });
});
