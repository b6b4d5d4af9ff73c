import type { TLSSocket } from 'node:tls';
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from 'express';
import type { Logger } from 'pino';
import { fail } from '../contract/failures.ts';
import { API_GROUP, GROUP_VERSION } from '../contract/names.ts';
import { accessLog } from './access.ts';
import { authenticate, authenticateWithToken } from './authentication.ts';
import { allow, type Call, InFlight, identified } from './call.ts';
import { healthRoutes, type Readiness } from './health.ts';
import type { Identity } from './identity.ts';
import type { Metrics } from './metrics.ts';
import { LONGEST_ANSWER_MS } from './patience.ts';
import { peerOf } from './peer.ts';
import { mountDevices, type PodRoutesDeps, unmountDevices } from './pod-routes.ts';
import { publicRoutes } from './public-routes.ts';
import { checkRawPath } from './raw-path.ts';
import { sendFailure, sendText } from './respond.ts';
import type { StatusSubject } from './status.ts';
import type { Tokens } from './tokens.ts';
import type { Trust } from './trust.ts';

export interface AppDeps extends PodRoutesDeps {
  /** Undefined until it was read once: then nobody is believed. */
  readonly trust: () => Trust | undefined;
  /** Absent: no bearer token is accepted. */
  readonly tokens?: Tokens | undefined;
  readonly readiness: Readiness;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly maxMutatingRequests: number;
  /** Of mounts and unmounts, the review and all included. */
  readonly answerWithinMs?: number;
}

/** Longer than the longest wait for devices, and before kube-apiserver gives up. */
const ANSWER_MS = LONGEST_ANSWER_MS + 5_000;
const NO_TRUST: Trust = { pem: '', clientCas: [] };
/** Scrapes of metrics. */
const MAX_SCRAPES = 10;
const ROOT = `/apis/${GROUP_VERSION}`;

/** The whole HTTP surface. It listens nowhere by itself. */
export function createApp(deps: AppDeps): Express {
  const app = express();
  // One spelling for each path: /MOUNT and /mount/ are not /mount, or else they would be authorised as something else.
  app.enable('case sensitive routing');
  app.enable('strict routing');
  app.disable('x-powered-by');
  app.disable('etag');
  app.disable('query parser');

  app.use(accessLog(deps.log));
  app.use(deps.metrics.counting());
  app.use(rawPathChecked);
  publicRoutes(app);
  app.all(['/apis', `/apis/${API_GROUP}`, ROOT], methodNotAllowed('GET', 'apis'));
  healthRoutes(app, deps.readiness);

  const identify = (req: Request) =>
    authenticateWithToken(
      () => identityOf(req, deps.trust() ?? NO_TRUST, deps.metrics),
      req.headersDistinct,
      deps.tokens,
    );
  serveMetrics(app, deps, identify);
  servePods(app, deps, identify);
  app.use((req, res) => {
    sendFailure(req, res, fail('NotFound', 'the server could not find the requested resource'));
  });
  app.use(((err, req, res, _next) => sendFailure(req, res, err)) satisfies ErrorRequestHandler);
  return app;
}

const rawPathChecked: RequestHandler = (req, res, next) => {
  try {
    checkRawPath(req.url);
  } catch (err) {
    sendFailure(req, res, err);
    return;
  }
  next();
};

/** For those who may read it: it tells who is busy with what. */
function serveMetrics(app: Express, { review, metrics }: AppDeps, identify: (req: Request) => Promise<Identity>) {
  app.get(
    '/metrics',
    identified({ identify, inFlight: new InFlight(MAX_SCRAPES) }, async (call) => {
      await allow(review, call, { path: '/metrics', verb: 'get' });
      sendText(call.res, 200, await metrics.registry.metrics());
    }),
  );
}

function servePods(app: Express, deps: AppDeps, identify: (req: Request) => Promise<Identity>): void {
  const inFlight = new InFlight(deps.maxMutatingRequests);
  const gate = { identify, inFlight, answerWithinMs: deps.answerWithinMs ?? ANSWER_MS };
  const route = (path: string, handle: (deps: PodRoutesDeps, call: Call) => Promise<void>) => {
    app.put(
      path,
      identified({ ...gate, subject: podSubject }, (call) => handle(deps, call)),
    );
    app.all(path, methodNotAllowed('PUT', 'pods'));
  };
  route(`${ROOT}/namespaces/:namespace/pods/:name/mount`, mountDevices);
  route(`${ROOT}/namespaces/:namespace/pods/:name/unmount`, unmountDevices);
}

function podSubject(req: Request): StatusSubject {
  const name = req.params['name']?.toString();
  return { ...(name !== undefined && { name }), group: API_GROUP, kind: 'pods' };
}

function methodNotAllowed(allowed: string, resource: string): RequestHandler {
  return (req, res) => {
    res.setHeader('Allow', allowed);
    const verb = VERBS[req.method] ?? req.method.toLowerCase();
    const message = `${verb} is not supported on resources of kind "${resource}.${API_GROUP}"`;
    sendFailure(req, res, fail('MethodNotAllowed', message), { group: API_GROUP, kind: resource });
  };
}

const VERBS: Readonly<Record<string, string>> = {
  POST: 'create',
  GET: 'get',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

function identityOf(req: Request, trust: Trust, metrics: Metrics): Identity {
  const peer = peerOf(req.socket as TLSSocket);
  if (peer?.verified) metrics.sawClientCertificate(peer.certificate.validToDate);
  return authenticate(req.headersDistinct, peer, trust, new Date());
}
