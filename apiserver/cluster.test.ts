import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { KubeConfig } from '@kubernetes/client-node';
import { PooledKubeConfig } from '../process/kubernetes.ts';
import { objectLister } from './cluster.ts';

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
  config = new PooledKubeConfig();
  config.loadFromClusterAndUser({ name: 'c', server, skipTLSVerify: true }, { name: 'u' });
});
afterEach(() => {
  kube.closeAllConnections();
  kube.close();
});

describe('objectLister()', () => {
  test('asks once, for the objects of the pod', async () => {
    answer = { code: 200, body: { metadata: { resourceVersion: '42', continue: '' }, items: [OBJECT] } };
    expect(await objectLister(config)(TARGET)).toEqual(answer.body);
    const path = '/apis/device-mounter.io/v1beta1/namespaces/apps/devicemounts';
    expect(asked).toEqual([`GET ${path}?labelSelector=device-mounter.io%2Fowner-uid%3D9c1b-uid`]);
  });

  test.each([
    ['there is no such kind', 404],
    ['there is no right', 403],
  ])('rejects where %s', async (_name, code) => {
    answer = { code, body: { kind: 'Status', code, message: 'no' } };
    await expect(objectLister(config)(TARGET)).rejects.toThrow(String(code));
  });
});
