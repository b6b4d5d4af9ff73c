import { writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { CoreV1Event, V1DeleteOptions, V1Pod } from '@kubernetes/client-node';
import { ClusterError, type MountPreconditions } from '../../activities/cluster.ts';
import type { DeviceMountObject } from '../../contract/device-mount-object.ts';
import { type Credential, createAuthority, issue } from '../../process/certificates.ts';
import type { MemoryCluster } from '../workflows/memory-cluster.ts';
import { KUBE_SYSTEM } from './kube-api.ts';

interface Call {
  readonly cluster: MemoryCluster;
  readonly namespace: string;
  readonly name: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

/** What a path answers, by method and pattern; `undefined` is a 404. */
type Route = readonly [method: string, path: RegExp, answer: (call: Call) => unknown];

const IN = String.raw`(?:/namespaces/(?<namespace>[^/]+))?`;
const NAME = '/(?<name>[^/]+)';
const PODS = `/api/v1${IN}/pods`;
const MOUNTS = `/apis/device-mounter.io/v1beta1${IN}/devicemounts`;
const at = (path: string): RegExp => new RegExp(`^${path}$`);

const ROUTES: readonly Route[] = [
  ['GET', at('/version'), () => ({ major: '1', minor: '36' })],
  ['GET', at('/api/v1/namespaces/kube-system'), () => ({ metadata: { uid: KUBE_SYSTEM } })],
  ['GET', at(PODS), listPods],
  ['POST', at(PODS), ({ cluster, namespace, body }) => cluster.createPod(namespace, body as V1Pod)],
  ['GET', at(PODS + NAME), ({ cluster, ...ref }) => cluster.getPod(ref)],
  ['PATCH', at(PODS + NAME), ({ cluster, body, ...ref }) => done(cluster.mergePod(ref, body as object))],
  ['DELETE', at(PODS + NAME), deletePod],
  [
    'POST',
    at(`/api/v1${IN}/events`),
    ({ cluster, namespace, body }) => done(cluster.createEvent(namespace, body as CoreV1Event)),
  ],
  ['GET', at(`/api/v1/nodes${NAME}`), ({ cluster, name }) => cluster.getNode(name)],
  ['GET', at(`/apis/coordination.k8s.io/v1${IN}/leases${NAME}`), (call) => call.cluster.getLease('', call.name)],
  ['GET', at(MOUNTS), listMounts],
  ['POST', at(MOUNTS), ({ cluster, body }) => cluster.createMount(body as DeviceMountObject)],
  ['GET', at(MOUNTS + NAME), ({ cluster, ...ref }) => cluster.getMount(ref)],
  ['PUT', at(MOUNTS + NAME), ({ cluster, body }) => cluster.replaceMount(body as DeviceMountObject)],
  ['PUT', at(`${MOUNTS}${NAME}/status`), ({ cluster, body }) => cluster.replaceMountStatus(body as DeviceMountObject)],
  ['DELETE', at(MOUNTS + NAME), deleteMount],
];

async function listPods({ cluster, namespace, query }: Call): Promise<object> {
  const { items, resourceVersion } = await cluster.listPods(query.get('labelSelector') ?? '', namespace || undefined);
  return { metadata: { resourceVersion }, items };
}

async function listMounts({ cluster, namespace, query }: Call): Promise<object> {
  const labels = query.get('labelSelector') ?? '';
  if (labels !== '' || namespace !== '')
    return { metadata: {}, items: (await cluster.listMounts(labels, namespace || undefined)).items };
  const { items, next } = await cluster.pageOfMounts(query.get('continue') ?? '');
  return { metadata: { continue: next }, items };
}

function deletePod({ cluster, body, ...ref }: Call): Promise<object> {
  const { preconditions, gracePeriodSeconds = 0 } = body as V1DeleteOptions;
  return done(cluster.deletePod(ref, preconditions?.uid ?? '', gracePeriodSeconds));
}

function deleteMount({ cluster, body, ...ref }: Call): Promise<object> {
  return done(cluster.deleteMount(ref, (body as { preconditions: MountPreconditions }).preconditions));
}

const done = (call: Promise<void>): Promise<object> => call.then(() => ({}));

/** A cluster in memory as kube-apiserver shows it, over real TLS, as far as the control worker asks. */
export class ClusterApi {
  readonly #server: Server;
  readonly #cluster: MemoryCluster;
  /** PEM, of the authority that has signed its certificate. */
  readonly #ca: string;

  private constructor(cluster: MemoryCluster, ca: string, { certificate, key }: Credential) {
    this.#cluster = cluster;
    this.#ca = ca;
    this.#server = createServer({ cert: certificate, key }, (request, response) => {
      this.#answer(request, response).catch((err: unknown) => refuse(response, err));
    });
  }

  /** Listens on a loopback port. */
  static async start(cluster: MemoryCluster): Promise<ClusterApi> {
    const authority = await createAuthority('bench');
    const serving = await issue(authority, { commonName: 'kube', usage: 'server', names: ['127.0.0.1'] });
    const api = new ClusterApi(cluster, authority.certificate, serving);
    await new Promise<void>((resolve) => api.#server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  get #port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('Cannot tell the port: it does not listen');
    return address.port;
  }

  /** Writes a kubeconfig for it into `folder`, and answers the path. */
  kubeconfigIn(folder: string): string {
    const server = `https://127.0.0.1:${this.#port}`;
    const ca = Buffer.from(this.#ca).toString('base64');
    const config = {
      'current-context': 'bench',
      clusters: named('cluster', { server, 'certificate-authority-data': ca }),
      users: named('user', { token: 'bench' }),
      contexts: named('context', { cluster: 'bench', user: 'bench' }),
    };
    const file = join(folder, 'kubeconfig');
    writeFileSync(file, JSON.stringify(config));
    return file;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams: query } = new URL(request.url ?? '/', 'https://kube');
    const body = (await text(request)) || 'null';
    response.setHeader('content-type', 'application/json');
    for (const [method, path, answer] of ROUTES) {
      const { namespace = '', name = '' } = path.exec(pathname)?.groups ?? {};
      if (method !== request.method || !path.test(pathname)) continue;
      const call = { cluster: this.#cluster, namespace, name, query, body: JSON.parse(body) };
      if (query.has('watch')) await watch(call, response);
      else response.end(JSON.stringify((await answer(call)) ?? notFound(response)));
      return;
    }
    response.writeHead(404).end('404 page not found');
  }
}

function notFound(response: ServerResponse): object {
  response.writeHead(404);
  return { kind: 'Status', code: 404, reason: 'NotFound', message: 'not found' };
}

async function watch({ cluster, namespace, query }: Call, response: ServerResponse): Promise<void> {
  const ended = new AbortController();
  response
    .once('close', () => ended.abort())
    .writeHead(200)
    .flushHeaders();
  const [labels, version] = [query.get('labelSelector') ?? '', query.get('resourceVersion') ?? ''];
  for await (const { type, pod } of cluster.watchPods(labels, version, ended.signal, namespace || undefined)) {
    response.write(`${JSON.stringify({ type, object: pod })}\n`);
  }
}

function refuse(response: ServerResponse, err: unknown): void {
  const { code, reason, message } = err instanceof ClusterError ? err : new ClusterError(500, '', String(err));
  response.writeHead(code).end(JSON.stringify({ kind: 'Status', status: 'Failure', code, reason, message }));
}

function named(kind: string, content: object): readonly object[] {
  return [{ name: 'bench', [kind]: content }];
}
