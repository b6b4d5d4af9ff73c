import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { KubeConfig } from '@kubernetes/client-node';
import { PooledKubeConfig } from '../../process/kubernetes.ts';

interface Stored {
  readonly metadata: { readonly name: string; readonly uid: string; readonly resourceVersion: string };
}
type Written = { metadata?: Record<string, unknown> } & Record<string, unknown>;

/** A request as an authorizer sees it. */
export interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
}

interface Place extends Omit<Attributes, 'verb'> {
  /** Path of the collection. */
  readonly path: string;
  readonly query: URLSearchParams;
}

class Refusal extends Error {
  readonly code: number;
  readonly reason: string;

  constructor(code: number, reason: string, message = `it is ${reason}`) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

const VERBS: Readonly<Record<string, string>> = { GET: 'get', POST: 'create', PUT: 'update', DELETE: 'delete' };

/**
 * A kube-apiserver for single objects and small lists: names are taken once, a replace needs the resourceVersion that is stored, a delete
 * heeds its preconditions, and a watch tells what has changed since its resourceVersion.
 */
export class MemoryKube {
  /** By path of the collection and name. */
  readonly #objects = new Map<string, Stored>();
  readonly #watches = new Set<{ readonly place: Place; readonly response: ServerResponse }>();
  readonly #server: Server;
  #version = 0;
  /** Every request to change something, for example `POST /api/v1/namespaces/x/secrets`. */
  readonly writes: string[] = [];
  /** Every other one. */
  readonly reads: string[] = [];
  /** Awaited by each request before it is served. */
  gate: (method: string, path: string) => Promise<void> | void = () => undefined;
  /** Who may do what; a verb of a list or a watch is that. */
  mayDo: (attributes: Attributes) => boolean = () => true;
  nowMs: () => number = Date.now;

  constructor() {
    // It closes no connection that is idle: a client that stood still for a while would still take it for open.
    this.#server = createServer({ keepAliveTimeout: 0 }, (request, response) => void this.#serve(request, response));
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** For a client of the cluster; `exportConfig` makes a file of it. */
  config(): KubeConfig {
    const config = new PooledKubeConfig();
    const server = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    config.loadFromClusterAndUser({ name: 'c', server, skipTLSVerify: true }, { name: 'u' });
    return config;
  }

  /** As a client that is not asked for rights. `path` is that of the object. */
  get(path: string): unknown {
    return this.#objects.get(path);
  }

  put(path: string, object: object): void {
    const place = placeOf(path);
    const before = this.#objects.get(path);
    this.#store(place, { ...before, ...object }, before);
  }

  remove(path: string): void {
    const object = this.#objects.get(path);
    this.#objects.delete(path);
    if (object !== undefined) this.#tell(placeOf(path), 'DELETED', object);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/' } = request;
    try {
      const text = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>)).toString();
      if (url === '/version/') return send(response, 200, { major: '1', minor: '36' });
      const place = placeOf(url);
      await this.gate(method, url);
      (method === 'GET' ? this.reads : this.writes).push(`${method} ${url}`);
      this.#authorize(method, place);
      if (place.query.get('watch') === 'true') return this.#watch(place, response);
      send(response, method === 'POST' ? 201 : 200, this.#answer(method, place, text === '' ? {} : JSON.parse(text)));
    } catch (err) {
      const { code, reason, message } = err instanceof Refusal ? err : new Refusal(500, String(err));
      send(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message });
    }
  }

  #authorize(method: string, place: Place): void {
    const { group, resource, namespace, query } = place;
    const one = /^metadata\.name=(.*)$/.exec(query.get('fieldSelector') ?? '')?.[1];
    const name = place.name ?? one;
    const reading = query.get('watch') === 'true' ? 'watch' : place.name === undefined ? 'list' : 'get';
    const verb = method === 'GET' ? reading : (VERBS[method] ?? method);
    if (this.mayDo({ verb, group, resource, namespace, name })) return;
    throw new Refusal(403, 'Forbidden', `cannot ${verb} ${resource} ${name}`);
  }

  #answer(method: string, place: Place, body: Written): object {
    if (method === 'GET' && place.name === undefined) return this.#list(place);
    const name = place.name ?? String(body.metadata?.['name']);
    const stored = this.#objects.get(`${place.path}/${name}`);
    if (method === 'POST') {
      if (stored !== undefined) throw new Refusal(409, 'AlreadyExists');
      return this.#store({ ...place, name }, body);
    }
    if (stored === undefined) throw new Refusal(404, 'NotFound');
    if (method === 'GET') return stored;
    if (method === 'PUT') {
      if (body.metadata?.['resourceVersion'] !== stored.metadata.resourceVersion) throw new Refusal(409, 'Conflict');
      return this.#store(place, body, stored);
    }
    const { uid } = (body['preconditions'] as { readonly uid?: string } | undefined) ?? {};
    if (uid !== undefined && uid !== stored.metadata.uid) throw new Refusal(409, 'Conflict');
    this.remove(`${place.path}/${name}`);
    return { kind: 'Status', apiVersion: 'v1', status: 'Success' };
  }

  #store(place: Place, body: Written, before?: Stored): Stored {
    this.#version += 1;
    const made = { uid: randomUUID(), creationTimestamp: new Date(this.nowMs()).toISOString() };
    const kept = before === undefined ? made : { ...made, ...before.metadata };
    const { uid, creationTimestamp } = kept as typeof made;
    const metadata = {
      ...body.metadata,
      name: place.name,
      uid,
      creationTimestamp,
      resourceVersion: String(this.#version),
    };
    const stored = { ...body, metadata } as unknown as Stored;
    this.#objects.set(`${place.path}/${place.name}`, stored);
    this.#tell(place, before === undefined ? 'ADDED' : 'MODIFIED', stored);
    return stored;
  }

  #list({ path, query }: Place): object {
    const [key = '', value] = (query.get('labelSelector') ?? '').split('=');
    const items = [...this.#objects].flatMap(([id, object]) => {
      const { labels = {} } = object.metadata as { readonly labels?: Record<string, string> };
      return id.startsWith(`${path}/`) && (key === '' || labels[key] === value) ? [object] : [];
    });
    return { metadata: { resourceVersion: String(this.#version) }, items };
  }

  #watch(place: Place, response: ServerResponse): void {
    const watch = { place, response };
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    this.#watches.add(watch);
    response.on('close', () => this.#watches.delete(watch));
    const name = place.query.get('fieldSelector')?.split('=')[1];
    if (name === undefined) return;
    const object = this.#objects.get(`${place.path}/${name}`);
    const since = Number(place.query.get('resourceVersion'));
    if (object === undefined || Number(object.metadata.resourceVersion) > since)
      line(response, 'MODIFIED', object ?? {});
  }

  #tell({ path, name }: Place, type: string, object: object): void {
    for (const { place, response } of this.#watches) {
      const wanted = place.query.get('fieldSelector') === `metadata.name=${name}`;
      if (place.path === path && wanted) line(response, type, object);
    }
  }
}

/** Reads `/api/v1/…` and `/apis/<group>/<version>/…`, with the namespace that the path is in. */
function placeOf(url: string): Place {
  const { pathname: encoded, searchParams: query } = new URL(url, 'http://kube');
  const pathname = decodeURIComponent(encoded);
  const [, root = '', ...rest] = pathname.split('/');
  const group = root === 'api' ? '' : (rest.shift() ?? '');
  rest.shift();
  const isInNamespace = rest[0] === 'namespaces' && rest.length > 2;
  const [resource = '', name] = isInNamespace ? rest.slice(2) : rest;
  // As kube-apiserver has it: a namespace is in itself.
  const namespace = isInNamespace || rest[0] === 'namespaces' ? rest[1] : undefined;
  const path = name === undefined ? pathname : pathname.slice(0, pathname.lastIndexOf('/'));
  return { path, group, resource, namespace, name, query };
}

const send = (response: ServerResponse, code: number, body: object): void =>
  void response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));

const line = (response: ServerResponse, type: string, object: object): void =>
  void response.write(`${JSON.stringify({ type, object })}\n`);
