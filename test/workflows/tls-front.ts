import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect,
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Pair } from '../apiserver/pki.ts';

export interface TlsFrontOptions {
  readonly serving: Pair;
  /** Clients must show a certificate of this CA. */
  readonly clientCa: string;
  /** Calls must bring one of these as they are now. */
  readonly apiKeys: ReadonlySet<string>;
  /** Ends of the paths of calls that nobody may make. */
  readonly denied?: readonly string[];
  /** A Temporal server without TLS, `host:port`. */
  readonly behind: string;
}

/** What stands before Temporal in production: mutual TLS and API keys, over the real server. */
export class TlsFront {
  readonly address: string;
  readonly #close: () => Promise<void>;

  private constructor(address: string, close: () => Promise<void>) {
    this.address = address;
    this.#close = close;
  }

  static async start({ serving, clientCa, apiKeys, denied = [], behind }: TlsFrontOptions): Promise<TlsFront> {
    const backend = connect(`http://${behind}`);
    const server = createSecureServer({ ...serving, ca: clientCa, requestCert: true, rejectUnauthorized: true });
    server.on('stream', (stream, headers) => {
      if (!apiKeys.has((headers.authorization ?? '').replace('Bearer ', ''))) refuse(stream, UNAUTHENTICATED);
      else if (denied.some((end) => headers[':path']?.endsWith(end))) refuse(stream, PERMISSION_DENIED);
      else forward(backend, stream, headers);
    });
    const sessions = new Set<{ destroy(): void }>();
    server.on('session', (session) => {
      sessions.add(session);
      session.once('close', () => sessions.delete(session));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return new TlsFront(`127.0.0.1:${port}`, async () => {
      backend.destroy();
      for (const session of sessions) session.destroy();
      server.close();
    });
  }

  async stop(): Promise<void> {
    await this.#close();
  }
}

const UNAUTHENTICATED = '16';
const PERMISSION_DENIED = '7';

function refuse(stream: ServerHttp2Stream, status: string): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': status }, { endStream: true });
}

function forward(backend: ClientHttp2Session, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const { ':authority': _name, ':scheme': _scheme, ...rest } = headers;
  const call = backend.request(rest);
  call.on('response', ({ ':status': code, ...answer }) => {
    // An answer that has only a status ends with its headers.
    const how = answer['grpc-status'] === undefined ? { waitForTrailers: true } : { endStream: true };
    stream.respond({ ':status': code, ...answer }, how);
  });
  let trailers: IncomingHttpHeaders = {};
  call.on('trailers', (sent) => {
    trailers = sent;
  });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  for (const each of [stream, call]) each.on('error', () => undefined);
  stream.on('aborted', () => call.destroy());
  stream.pipe(call);
  call.pipe(stream);
}
