import type { Express } from 'express';
import { type HealthCheck, readiness } from '../../process/health.ts';
import { sendText } from './respond.ts';

export interface Readiness {
  /** What has to be well before clients are sent here. Never Temporal or nodes: discovery has to be served without them. */
  readonly checks: Readonly<Record<string, HealthCheck>>;
}

/** `/livez`, `/readyz` and the older `/healthz`, each with `?verbose` and `/<check>` as kube-apiserver has them. */
export function healthRoutes(app: Express, { checks }: Readiness): void {
  app.get(['/livez', '/livez/ping', '/healthz', '/healthz/ping'], (_req, res) => sendText(res, 200, 'ok'));
  app.get('/readyz', async (req, res) => {
    const { ready, lines } = await readiness(checks);
    if (ready && !/[?&]verbose(?:=|&|$)/.test(req.url)) return sendText(res, 200, 'ok');
    const last = `readyz check ${ready ? 'passed' : 'failed'}`;
    return sendText(res, ready ? 200 : 503, `${[...lines, last].join('\n')}\n`);
  });
  app.get('/readyz/:check', async (req, res, next) => {
    const name = req.params.check;
    if (!Object.hasOwn(checks, name)) return next();
    const problem = await checks[name]?.();
    return sendText(res, problem === undefined ? 200 : 503, problem ?? 'ok');
  });
}
