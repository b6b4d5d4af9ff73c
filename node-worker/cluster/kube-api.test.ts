import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from '@jest/globals';
import { kubernetesEvents } from '../../process/events.ts';
import { type KubeApi, kubeApi, podAccess, type WatchEvent } from '../../process/kube-api.ts';
import { LeaseRenewal } from './lease.ts';
import { kubernetesPods, kubernetesSlaves } from './pods.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<KubeApi> {
  const listening = createServer(answer);
  server = listening;
  await new Promise<void>((resolve) => {
    listening.listen(0, '127.0.0.1', resolve);
  });
  const { port } = listening.address() as AddressInfo;
  return kubeApi(() => ({ server: `http://127.0.0.1:${port}`, token: 'secret' }));
}

const POD = { metadata: { namespace: 'ns', name: 'p', uid: 'u1' }, spec: { nodeName: 'n1' } };

describe('kubeApi()', () => {
  test('reads with its token, and answers nothing for 404', async () => {
    const api = await serve(({ headers, url }, response) => {
      if (url === '/none') response.writeHead(404).end('{}');
      else response.end(JSON.stringify({ authorization: headers.authorization }));
    });
    expect(await api.get('/here')).toEqual({ authorization: 'Bearer secret' });
    expect(await api.get('/none')).toBeUndefined();
  });

  test('tells the code and the words of a refusal', async () => {
    const api = await serve((_request, response) => response.writeHead(403).end('pods is forbidden'));
    await expect(api.get('/api/v1/pods?x=1')).rejects.toMatchObject({
      code: 403,
      message: 'GET /api/v1/pods: 403 pods is forbidden',
    });
  });

  test('tells the events of a watch as they come, across chunks, until it is aborted', async () => {
    const stop = new AbortController();
    const events: WatchEvent[] = [];
    const api = await serve((_request, response) => {
      response.write('{"type":"ADDED","obj');
      response.write('ect":{"é":1}}\n{"type":"DELETED","object":{}}\n');
    });
    const onEvent = (event: WatchEvent): void => {
      if (events.push(event) === 2) stop.abort();
    };
    await api.watch('/w', onEvent, stop.signal);
    expect(events).toEqual([
      { type: 'ADDED', object: { é: 1 } },
      { type: 'DELETED', object: {} },
    ]);
  });

  test('fails when a watch is cut off by the network', async () => {
    const api = await serve((_request, response) => {
      response.write('{"type":"ADDED","object":{}}\n');
      response.socket?.destroy();
    });
    await expect(api.watch('/w', () => undefined, AbortSignal.timeout(60_000))).rejects.toThrow();
  });
});

describe('podAccess()', () => {
  test('finds kube-apiserver and the service account of the pod', () => {
    const directory = mkdtempSync(join(tmpdir(), 'account-'));
    writeFileSync(join(directory, 'token'), 't1\n');
    writeFileSync(join(directory, 'ca.crt'), 'pem');
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' };
    expect(podAccess(env, directory)()).toEqual({ server: 'https://[fd00::1]:6443', ca: 'pem', token: 't1' });
    rmSync(directory, { recursive: true });
  });

  test('fails outside of a pod', () => {
    expect(() => podAccess({})).toThrow('this is no pod');
  });
});

describe('kubernetesSlaves()', () => {
  test('lists and follows the slaves of one node, until the server says that its version is too old', async () => {
    const urls: string[] = [];
    const api = await serve(({ url = '' }, response) => {
      urls.push(decodeURIComponent(url));
      if (!url.includes('watch=')) response.end(JSON.stringify({ metadata: { resourceVersion: '7' }, items: [POD] }));
      else response.write(`${JSON.stringify({ type: 'DELETED', object: POD })}\n{"type":"ERROR","object":{}}\n`);
    });
    const slaves = kubernetesSlaves(api, 'n1');
    expect(await slaves.list()).toMatchObject({ resourceVersion: '7', pods: [{ name: 'p', uid: 'u1' }] });
    const seen: string[] = [];
    await slaves.watch('7', ({ name }, gone) => seen.push(`${name} ${gone}`), AbortSignal.timeout(60_000));
    expect(seen).toEqual(['p true']);
    const selectors = 'labelSelector=app.kubernetes.io/managed-by=device-mounter&fieldSelector=spec.nodeName=n1';
    expect(urls).toEqual([`/api/v1/pods?${selectors}`, `/api/v1/pods?${selectors}&watch=true&resourceVersion=7`]);
  });
});

describe('kubernetesPods()', () => {
  test('answers nothing for a pod that is not there and fails with Internal when it cannot know', async () => {
    const api = await serve(({ url }, response) => {
      response.writeHead(url === '/api/v1/namespaces/ns/pods/p' ? 404 : 500).end('{}');
    });
    expect(await kubernetesPods(api).get('ns', 'p')).toBeUndefined();
    await expect(kubernetesPods(api).get('ns', 'q')).rejects.toMatchObject({ type: 'Internal' });
  });
});

describe('kubernetesEvents()', () => {
  test.each([
    [{ kind: 'Pod', namespace: 'ns', name: 'p', uid: 'u1' }, 'ns', { namespace: 'ns', uid: 'u1' }],
    [{ kind: 'Node', name: 'n1' }, 'default', { uid: 'n1' }],
  ] as const)('tells of %j', async (about, namespace, more) => {
    const sent: unknown[] = [];
    const api = await serve((request, response) => {
      void json(request).then((body) => {
        sent.push(request.url, body);
        response.end('{}');
      });
    });
    await kubernetesEvents(api, 'n1').warn(about, 'EndDeviceUsers', 'x'.repeat(2_000));
    expect(sent).toMatchObject([
      `/api/v1/namespaces/${namespace}/events`,
      {
        involvedObject: { apiVersion: 'v1', kind: about.kind, name: about.name, ...more },
        type: 'Warning',
        reason: 'EndDeviceUsers',
        message: 'x'.repeat(1_024),
        source: { component: 'device-mounter', host: 'n1' },
      },
    ]);
  });
});

describe('LeaseRenewal', () => {
  test('makes the Lease and then renews it', async () => {
    const requests: string[] = [];
    const done = Promise.withResolvers<void>();
    const api = await serve(({ method = '', url = '' }, response) => {
      requests.push(`${method} ${url.split('/').slice(-1)[0]}`);
      if (method === 'GET') response.writeHead(404).end('{}');
      else response.end(JSON.stringify({ metadata: { resourceVersion: '1' }, spec: {} }), () => done.resolve());
    });
    const renewal = new LeaseRenewal({ api, namespace: 'ns', node: 'n1', onError: done.reject });
    renewal.start();
    await done.promise;
    await renewal.stop();
    expect(requests).toEqual(['GET device-mounter-node-n1', 'POST leases', 'PUT device-mounter-node-n1']);
  });
});
