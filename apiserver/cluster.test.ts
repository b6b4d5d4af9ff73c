import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';
import { objectReader } from './cluster.ts';

const TARGET = { namespace: 'apps', pod: 'web-0', podUid: '9c1b-uid', container: 'main' };
const OBJECT = {
  apiVersion: 'device-mounter.io/v1beta1',
  kind: 'DeviceMount',
  metadata: { name: 'm', namespace: 'apps', uid: 'uid-of-object', resourceVersion: '41', labels: { app: 'web' } },
  spec: { podName: 'web-0', podUid: '9c1b-uid', container: 'main', deviceType: 'HOSTDEV' },
  status: { phase: 'Mounted', user: 'jane', devices: [], slaves: [], mountUid: 'uid-of-mount', conditions: [] },
};

let kube: Server;
let config: KubeConfig;
let asked: string[];
let answer: { readonly code: number; readonly body: object };
beforeEach(async () => {
  asked = [];
  kube = createServer((req, res) => {
    asked.push(`${req.method} ${req.url}`);
    res.writeHead(answer.code, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer.body));
  }).listen(0, '127.0.0.1');
  await once(kube, 'listening');
  const server = `http://127.0.0.1:${(kube.address() as AddressInfo).port}`;
  config = new KubeConfig();
  config.loadFromClusterAndUser({ name: 'c', server, skipTLSVerify: true }, { name: 'u' });
});
afterEach(() => {
  kube.closeAllConnections();
  kube.close();
});

const GROUP = '/apis/device-mounter.io/v1beta1/namespaces/apps/devicemounts';

describe('objectReader()', () => {
  test('list() asks once, for the objects of the pod', async () => {
    answer = { code: 200, body: { metadata: { resourceVersion: '42', continue: '' }, items: [OBJECT] } };
    expect(await objectReader(config).list(TARGET)).toEqual(answer.body);
    expect(asked).toEqual([`GET ${GROUP}?labelSelector=device-mounter.io%2Fowner-uid%3D9c1b-uid`]);
  });

  test('get() answers one, or that there is none', async () => {
    answer = { code: 200, body: OBJECT };
    expect(await objectReader(config).get('apps', 'm')).toEqual(OBJECT);
    answer = { code: 404, body: { kind: 'Status', code: 404, reason: 'NotFound', message: 'not found' } };
    expect(await objectReader(config).get('apps', 'n')).toBeUndefined();
    expect(asked).toEqual([`GET ${GROUP}/m`, `GET ${GROUP}/n`]);
  });

  test.each([
    ['there is no such kind', 404],
    ['there is no right', 403],
  ])('list() rejects where %s', async (_name, code) => {
    answer = { code, body: { kind: 'Status', code, message: 'no' } };
    await expect(objectReader(config).list(TARGET)).rejects.toThrow(String(code));
  });
});
