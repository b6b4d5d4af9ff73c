import { Agent, request } from 'node:https';
import type { Pair } from './pki.ts';

/** Where a request goes. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** PEM of the CA of the server's certificate. */
  readonly ca: string;
  /** Name in the server's certificate, where it is not the host. */
  readonly servername?: string;
}

export interface SendOptions {
  readonly method?: string;
  /** Sent as it is. */
  readonly path?: string;
  /** Names and values in turn, so that names can repeat. */
  readonly headers?: readonly string[];
  /** In parts it is sent chunked. */
  readonly body?: string | readonly string[];
  readonly client?: Pair;
  readonly agent?: Agent;
  /** Ends the request without an answer. */
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly code: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
  /** The body as JSON. */
  readonly json: Record<string, unknown>;
  /** Whether the connection had served a request before. */
  readonly reused: boolean;
}

/** One HTTPS request with nothing added but a Host and a length. */
export function send({ host, port, ca, servername }: Endpoint, options: SendOptions): Promise<Answer> {
  const { method = 'GET', path = '/', headers = [], body, client, agent, signal } = options;
  return new Promise((resolve, reject) => {
    const length = typeof body === 'string' ? ['Content-Length', String(Buffer.byteLength(body))] : [];
    const sent = request(
      {
        host,
        port,
        ca,
        method,
        path,
        headers: ['Host', `${host}:${port}`, ...headers, ...length] as never,
        agent: agent ?? new Agent({ keepAlive: false }),
        ...(servername !== undefined && { servername }),
        ...(client !== undefined && { cert: client.cert, key: client.key }),
        ...(signal !== undefined && { signal }),
      },
      (res) => {
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (chunk: string) => {
          text += chunk;
        });
        res.on('end', () => {
          const isJson = res.headers['content-type']?.startsWith('application/json') ?? false;
          resolve({
            code: res.statusCode ?? 0,
            headers: res.headers,
            text,
            // Not before somebody asks: a watch is many of them.
            get json() {
              return isJson ? (JSON.parse(text) as Record<string, unknown>) : {};
            },
            reused: sent.reusedSocket,
          });
        });
        res.on('error', reject);
      },
    );
    sent.on('error', reject);
    // As bytes: Node would write the headers in the encoding of a text that follows them.
    for (const chunk of [body ?? []].flat()) sent.write(Buffer.from(chunk));
    sent.end();
  });
}
