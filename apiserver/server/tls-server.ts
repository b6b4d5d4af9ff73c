import { constants } from 'node:crypto';
import type { RequestListener, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { ServingPair } from './serving-certificate.ts';

/** Kubernetes' own limit is 1 MiB; a user in 400 groups needs 30 KiB, and Node's default of 16 KiB answers 431. */
const MAX_HEADER_BYTES = 256 * 1_024;
/** Longer than Go's pool keeps an idle connection (90 s), so that the aggregator never sends a PUT into one that we close. */
const KEEP_ALIVE_MS = 120_000;
/** Go's ReadHeaderTimeout in k8s.io/apiserver. */
const HEADERS_MS = 32_000;
/** Time to send a whole request. */
const REQUEST_MS = 60_000;

/**
 * An HTTPS server of HTTP/1.1 only: Express is not made for HTTP/2, where one request crashes it. Client certificates are asked for
 * and not demanded, since the kubelet's probes show none; `authentication.ts` decides what one is worth.
 */
export class TlsServer {
  readonly #server: Server;
  /** Connections made while the CAs were others. */
  readonly #old = new WeakSet<Socket>();
  readonly #open = new Set<Socket>();
  /** Connections on which nothing was asked yet, by their other end, before TLS. Node waits for them when it closes. */
  readonly #silent = new Map<string, Socket>();
  #pair: ServingPair;
  #ca: string;
  /** Answers that are not out yet. */
  readonly #answering = new Set<ServerResponse>();
  #leaving = false;

  constructor(pair: ServingPair, ca: string, listener: RequestListener) {
    this.#pair = pair;
    this.#ca = ca;
    this.#server = createServer(
      {
        ...this.#secureContext(),
        requestCert: true,
        rejectUnauthorized: false,
        maxHeaderSize: MAX_HEADER_BYTES,
        keepAliveTimeout: KEEP_ALIVE_MS,
        headersTimeout: HEADERS_MS,
        requestTimeout: REQUEST_MS,
      },
      (req, res) => {
        if (this.#leaving || this.#old.has(req.socket)) res.setHeader('Connection', 'close');
        this.#silent.delete(otherEnd(req.socket));
        this.#answering.add(res);
        res.once('close', () => this.#answering.delete(res));
        listener(req, res);
      },
    );
    // Bytes are the limit. Node drops whatever is above its count of lines without a word, which may be the user.
    this.#server.maxHeadersCount = 0;
    this.#server.on('connection', (socket: Socket) => {
      const end = otherEnd(socket);
      this.#silent.set(end, socket);
      socket.once('close', () => this.#silent.get(end) === socket && this.#silent.delete(end));
    });
    this.#server.on('secureConnection', (socket: Socket) => {
      this.#open.add(socket);
      socket.once('close', () => this.#open.delete(socket));
    });
  }

  async listen(port: number, host: string): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, resolve);
    });
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }

  /** Serves new connections with another certificate. Throws when TLS cannot use it; the one before stays. */
  usePair(pair: ServingPair): void {
    this.#server.setSecureContext({ ...this.#secureContext(), key: pair.key, cert: pair.cert });
    this.#pair = pair;
  }

  /** Accepts client certificates of other CAs from now on. Connections that were made before end with their next answer. */
  useCa(ca: string): void {
    if (ca === this.#ca) return;
    this.#server.setSecureContext({ ...this.#secureContext(), ca });
    this.#ca = ca;
    for (const socket of this.#open) this.#old.add(socket);
    this.#server.closeIdleConnections();
  }

  /**
   * Ends each connection with its next answer, and still takes new ones. Some time before `drain`: a client that has no connection left cannot
   * send anything into one while we close it. Go's proxy does not repeat a PUT that was lost so.
   */
  leave(): void {
    this.#leaving = true;
    for (const res of this.#answering) endWith(res);
  }

  /**
   * Takes no new connection, and waits until all requests are answered, at most `patienceMs`. Go clients keep connections in stock that they
   * have asked nothing on; those end at once.
   */
  async drain(patienceMs: number): Promise<void> {
    this.leave();
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const socket of this.#silent.values()) socket.destroy();
    const timer = setTimeout(() => this.#server.closeAllConnections(), patienceMs);
    await closed;
    clearTimeout(timer);
  }

  /** `setSecureContext` forgets what it is not told again. */
  #secureContext() {
    return {
      key: this.#pair.key,
      cert: this.#pair.cert,
      ca: this.#ca,
      minVersion: 'TLSv1.2' as const,
      // A resumed session would skip the check of the client's certificate.
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
  }
}

const otherEnd = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

/** Lets the connection end with the answer, or else it would be kept for another request. One that goes to a slow client has its headers out. */
function endWith(res: ServerResponse): void {
  const { socket } = res;
  if (!res.headersSent) res.setHeader('Connection', 'close');
  else res.once('finish', () => socket?.end());
}
