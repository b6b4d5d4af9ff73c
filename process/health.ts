import { createServer, type Server } from 'node:http';

/** Answers `undefined` when all is well, else what is wrong. */
export type HealthCheck = () => string | undefined | Promise<string | undefined>;

export interface HealthOptions {
  readonly port: number;
  /** By default all addresses: the kubelet probes from outside of the pod. */
  readonly host?: string;
  /** Checks of `/readyz` by name; `/livez` only shows that the process answers. */
  readonly ready: Readonly<Record<string, HealthCheck>>;
  /** Body of `/metrics` in the Prometheus text format, if there are any. */
  readonly metrics?: () => Promise<string>;
}

/** Serves `/livez`, `/readyz` and `/metrics` over plain HTTP for the kubelet and Prometheus. Resolves when it listens. */
export async function serveHealth(options: HealthOptions): Promise<Server> {
  const server = createServer((request, response) => {
    answer(options, request.url ?? '/').then(
      ({ code, body }) => response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8' }).end(body),
      () => response.writeHead(500).end('a health check threw\n'),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Without a host Node listens on "::", for IPv4 too, or on 0.0.0.0 where there is no IPv6.
    server.listen(options.port, options.host, resolve);
  });
  return server;
}

async function answer(options: HealthOptions, url: string): Promise<{ code: number; body: string }> {
  const path = url.split('?', 1)[0];
  if (path === '/livez') return { code: 200, body: 'ok\n' };
  if (path === '/metrics' && options.metrics !== undefined) return { code: 200, body: await options.metrics() };
  if (path !== '/readyz') return { code: 404, body: 'not found\n' };
  const { ready, lines } = await readiness(options.ready);
  return { code: ready ? 200 : 503, body: `${lines.join('\n')}\n` };
}

/** What all checks say, each in a line of kube-apiserver's `/readyz?verbose`. */
export async function readiness(
  checks: Readonly<Record<string, HealthCheck>>,
): Promise<{ readonly ready: boolean; readonly lines: readonly string[] }> {
  const named = Object.entries(checks).map(async ([name, check]) => ({ name, problem: await check() }));
  const results = await Promise.all(named);
  return {
    ready: results.every(({ problem }) => problem === undefined),
    lines: results.map(({ name, problem }) => (problem === undefined ? `[+]${name} ok` : `[-]${name} ${problem}`)),
  };
}
