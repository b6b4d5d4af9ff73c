import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { join } from 'node:path';

/**
 * The few calls of kube-apiserver that a process on every node needs. The whole client library would take as much memory there as
 * all the rest of it.
 */
export interface KubeApi {
  /** Answers the object; undefined when there is none. @throws KubeApiError, and errors of the network */
  get(path: string): Promise<unknown>;
  /** Sends an object and answers it as it was stored. @throws KubeApiError, and errors of the network */
  send(method: 'POST' | 'PUT', path: string, body: object): Promise<unknown>;
  /** Tells each event of a watch until it ends or `signal` is aborted, and resolves then. @throws like `get` */
  watch(path: string, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void>;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

/** An answer of kube-apiserver that is not a success. */
export class KubeApiError extends Error {
  /** HTTP status code. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Where kube-apiserver is, and as whom to speak to it. */
export interface KubeAccess {
  /** For example `https://10.96.0.1:443`. */
  readonly server: string;
  /** PEM. Also `cert` and `key`. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
}

/** Long enough for a busy kube-apiserver, short enough to be tried again within a step. */
const READ_TIMEOUT_MS = 10_000;

/** `access` is asked for each call: tokens and CAs are replaced while the process runs. */
export function kubeApi(access: () => KubeAccess): KubeApi {
  const agents = { https: new Agent({ keepAlive: true }), http: new HttpAgent({ keepAlive: true }) };
  const open = (method: string, path: string, body?: object, signal?: AbortSignal): Promise<IncomingMessage> =>
    openCall(access(), agents, { method, path, body, signal });
  const once = async (method: string, path: string, body?: object): Promise<unknown> =>
    JSON.parse(await textOf(await open(method, path, body, AbortSignal.timeout(READ_TIMEOUT_MS))));
  return {
    async get(path) {
      try {
        return await once('GET', path);
      } catch (err) {
        if (err instanceof KubeApiError && err.code === 404) return undefined;
        throw err;
      }
    },
    send: once,
    async watch(path, onEvent, signal) {
      try {
        const response = await open('GET', path, undefined, signal);
        for await (const line of linesOf(response)) onEvent(JSON.parse(line) as WatchEvent);
      } catch (err) {
        if (!signal.aborted) throw err;
      }
    },
  };
}

interface CallOptions {
  readonly method: string;
  readonly path: string;
  readonly body: object | undefined;
  /** Also ends the answer while it is read. */
  readonly signal: AbortSignal | undefined;
}

async function openCall(
  { server, token, ca, cert, key }: KubeAccess,
  agents: { readonly https: Agent; readonly http: HttpAgent },
  { method, path, body, signal }: CallOptions,
): Promise<IncomingMessage> {
  const url = new URL(path, server);
  const headers = {
    accept: 'application/json',
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...(body !== undefined && { 'content-type': 'application/json' }),
  };
  const common = { method, headers, ...(signal !== undefined && { signal }) };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request =
      url.protocol === 'http:'
        ? httpRequest(url, { ...common, agent: agents.http })
        : httpsRequest(url, { ...common, agent: agents.https, ca, cert, key });
    request.once('response', resolve).on('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
  const code = response.statusCode ?? 0;
  if (code >= 200 && code < 300) return response;
  throw new KubeApiError(code, `${method} ${url.pathname}: ${code} ${(await textOf(response)).slice(0, 300)}`);
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk as string;
  return text;
}

/** Not node:readline: its iterator may wait for ever for a stream that has failed. */
async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of response.setEncoding('utf8')) {
    const lines = (rest + (chunk as string)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines.filter((line) => line !== '');
  }
}

/** Tokens of service accounts live an hour and are replaced well before; client-go reads them as often. */
const ACCESS_MS = 60_000;
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The cluster of the pod that this process runs in. Throws when it runs in none. */
export function podAccess(env: NodeJS.ProcessEnv, directory = SERVICE_ACCOUNT): () => KubeAccess {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = env;
  if (host === '') throw new Error('Cannot find kube-apiserver: this is no pod, and no --kubeconfig is given');
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const read = (name: string): string => readFileSync(join(directory, name), 'utf8').trim();
  let known: KubeAccess | undefined;
  let readAt = 0;
  return () => {
    if (known === undefined || performance.now() - readAt > ACCESS_MS) {
      known = { server, ca: read('ca.crt'), token: read('token') };
      readAt = performance.now();
    }
    return known;
  };
}
