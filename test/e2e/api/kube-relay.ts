import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import { type AddressInfo, Socket } from 'node:net';
import { APISERVER_URL } from '../../../deploy/local/addresses.ts';

/** A request that has passed, with the object that was sent. */
interface Relayed {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

/** What the relay does with a request instead of passing it on. */
export type Instead = { readonly code: number; readonly body: object } | 'never answer' | undefined;

/** Stands between a server under test and the real kube-apiserver: sees what is asked, answers otherwise, or breaks off. */
export class KubeRelay {
  readonly relayed: Relayed[] = [];
  instead: (asked: Relayed) => Instead = () => undefined;
  /** Nobody is there: connections break off. */
  away = false;
  readonly #agent: Agent;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(ca: string) {
    this.#agent = new Agent({ ca, keepAlive: true });
    this.#server = createServer((req, res) => void this.#serve(req, res));
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  static async open(ca: string): Promise<KubeRelay> {
    const relay = new KubeRelay(ca);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What was asked of the path that ends so. */
  asked(end: string): Relayed[] {
    return this.relayed.filter(({ path }) => path.endsWith(end));
  }

  /** As when kube-apiserver is gone, until `back`. */
  goAway(): void {
    this.away = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.goAway();
    this.#server.close();
    this.#agent.destroy();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (this.away) {
      req.socket.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const { method = 'GET', url = '/' } = req;
    const relayed = {
      method,
      path: url,
      body: body.length === 0 ? undefined : (JSON.parse(body.toString()) as unknown),
    };
    this.relayed.push(relayed);
    const instead = this.instead(relayed);
    if (instead === 'never answer') return;
    if (instead !== undefined) {
      res.writeHead(instead.code, { 'Content-Type': 'application/json' }).end(JSON.stringify(instead.body));
      return;
    }
    const { host: _, ...headers } = req.headers;
    const passed = request(new URL(url, APISERVER_URL), { method, headers, agent: this.#agent });
    passed.on('response', (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    passed.on('error', () => res.destroy());
    res.on('close', () => passed.destroy());
    passed.end(body);
  }
}
