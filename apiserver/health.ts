import type { Express } from 'express';
import type { HealthCheck } from '../process/health.ts';
import { sendText } from './respond.ts';

export interface Readiness {
  /** What has to be well before clients are sent here. Never Temporal or nodes: discovery has to be served without them. */
  readonly checks: Readonly<Record<string, HealthCheck>>;
}

/** `/livez`, `/readyz` and the older `/healthz`, each with `?verbose` and `/<check>` as kube-apiserver has them. */
export function healthRoutes(app: Express, { checks }: Readiness): void {
  app.get(['/livez', '/livez/ping', '/healthz', '/healthz/ping'], (_req, res) => sendText(res, 200, 'ok'));
  app.get('/readyz', async (req, res) => {
    const results = await resultsOf(checks);
    const ready = results.every(({ problem }) => problem === undefined);
    if (ready && !/[?&]verbose(?:=|&|$)/.test(req.url)) return sendText(res, 200, 'ok');
    const lines = results.map(({ name, problem }) =>
      problem === undefined ? `[+]${name} ok` : `[-]${name} ${problem}`,
    );
    return sendText(
      res,
      ready ? 200 : 503,
      `${[...lines, `readyz check ${ready ? 'passed' : 'failed'}`].join('\n')}\n`,
    );
  });
  app.get('/readyz/:check', async (req, res, next) => {
    const name = req.params.check;
    const [result] = await resultsOf(Object.fromEntries(Object.entries(checks).filter(([check]) => check === name)));
    if (result === undefined) return next();
    return sendText(res, result.problem === undefined ? 200 : 503, result.problem ?? 'ok');
  });
}

async function resultsOf(checks: Readiness['checks']) {
  return Promise.all(Object.entries(checks).map(async ([name, check]) => ({ name, problem: await check() })));
}
