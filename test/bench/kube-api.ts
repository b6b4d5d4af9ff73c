import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type Credential, createAuthority, issue } from '../../process/certificates.ts';

/** UID of the namespace. */
export const KUBE_SYSTEM = 'uid-of-bench';

/** Pods as kube-apiserver shows them, kept in memory, and Leases that are only taken note of, over real TLS. */
export class MemoryKubeApi {
  readonly #server: Server;
  /** PEM, of the authority that has signed its certificate. */
  readonly ca: string;
  readonly #pods: readonly object[];
  /** How often a Lease was renewed. */
  renewals = 0;

  private constructor(pods: readonly object[], ca: string, { certificate, key }: Credential) {
    this.#pods = pods;
    this.ca = ca;
    this.#server = createServer({ cert: certificate, key }, (request, response) => this.#answer(request, response));
  }

  /** Listens on a loopback port. */
  static async start(pods: readonly object[]): Promise<MemoryKubeApi> {
    const authority = await createAuthority('bench');
    const serving = await issue(authority, { commonName: 'kube', usage: 'server', names: ['127.0.0.1'] });
    const api = new MemoryKubeApi(pods, authority.certificate, serving);
    await new Promise<void>((resolve) => api.#server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('Cannot tell the port: it does not listen');
    return address.port;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'https://kube');
    response.setHeader('content-type', 'application/json');
    if (url.pathname === '/api/v1/namespaces/kube-system')
      response.end(JSON.stringify({ metadata: { uid: KUBE_SYSTEM } }));
    else if (url.pathname.includes('/leases')) this.#answerLease(request, response);
    // Nothing ever changes: a watch stays silent and open.
    else if (url.searchParams.has('watch')) response.writeHead(200).flushHeaders();
    else response.end(JSON.stringify({ metadata: { resourceVersion: '1' }, items: this.#pods }));
  }

  #answerLease(request: IncomingMessage, response: ServerResponse): void {
    if (request.method === 'GET') {
      response.writeHead(404).end('{}');
      return;
    }
    this.renewals += 1;
    request.pipe(response);
  }
}
