import type { Request, RequestHandler } from 'express';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { API_GROUP, API_VERSION, GROUP_VERSION } from '../contract/names.ts';
import { accessOf } from './access.ts';

/** Of `apiserver_request_duration_seconds` in k8s.io/apiserver, so that dashboards for it fit. */
const REQUEST_BUCKETS = [
  0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
];
const DELEGATED_BUCKETS = [0.005, 0.05, 0.25, 0.5, 0.7, 1, 1.5, 3, 5, 10];
/** Of the client certificates in k8s.io/apiserver: an hour or so, days, months. */
const CERTIFICATE_BUCKETS = [
  0, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 172_800, 345_600, 604_800, 2_592_000, 7_776_000, 15_552_000,
  31_104_000,
];
const REQUEST_LABELS = [
  'verb',
  'dry_run',
  'group',
  'version',
  'resource',
  'subresource',
  'scope',
  'component',
] as const;

/** Names and labels of k8s.io/apiserver. No label holds a namespace, pod or user: there would be too many. */
export class Metrics {
  readonly registry = new Registry();
  readonly #counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  readonly #requests = this.#counter('apiserver_request_total', 'Requests that were answered.', [
    ...REQUEST_LABELS,
    'code',
  ]);
  readonly #durations = new Histogram({
    name: 'apiserver_request_duration_seconds',
    help: 'Time until a request was answered.',
    labelNames: [...REQUEST_LABELS],
    buckets: REQUEST_BUCKETS,
    registers: [this.registry],
  });
  readonly #inFlight = new Gauge({
    name: 'apiserver_current_inflight_requests',
    help: 'Requests that are being served.',
    labelNames: ['request_kind'],
    registers: [this.registry],
  });
  readonly #aborts = this.#counter('apiserver_request_aborts_total', 'Clients that did not wait.', [
    'verb',
    'resource',
  ]);
  readonly #attempts = this.#counter('authentication_attempts', 'Who asks, was found out or not.', ['result']);
  readonly #authorizations = this.#counter('authorization_attempts_total', 'Requests allowed and not.', ['result']);
  readonly #terminations = this.#counter(
    'apiserver_request_terminations_total',
    'Requests that were turned away because too many are served.',
    [...REQUEST_LABELS, 'code'],
  );
  readonly #delegated = {
    authn: this.#delegation('authn', 'TokenReview'),
    authz: this.#delegation('authz', 'SubjectAccessReview'),
  };
  readonly #clientCertificates = new Histogram({
    name: 'apiserver_client_certificate_expiration_seconds',
    help: 'How long the client certificates of requests were still valid.',
    buckets: CERTIFICATE_BUCKETS,
    registers: [this.registry],
  });
  readonly #expiry = new Gauge({
    name: 'device_mounter_serving_certificate_expiry_timestamp_seconds',
    help: 'When the serving certificate ends.',
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Counts every request that passes; to be placed behind the access log. */
  counting(): RequestHandler {
    return (req, res, next) => {
      const labels = labelsOf(req);
      const kind = { request_kind: req.method === 'GET' || req.method === 'HEAD' ? 'readOnly' : 'mutating' };
      this.#inFlight.inc(kind);
      const { startedAtMs } = accessOf(res);
      res.once('close', () => {
        this.#inFlight.dec(kind);
        const { verb, resource } = labels;
        if (!res.writableFinished) this.#aborts.inc({ verb, resource });
        else this.#requests.inc({ ...labels, code: res.statusCode });
        if (res.statusCode === 429) this.#terminations.inc({ ...labels, code: 429 });
        this.#durations.observe(labels, (performance.now() - startedAtMs) / 1_000);
        const { user, decision } = accessOf(res);
        if (user !== undefined) this.#attempts.inc({ result: 'success' });
        else if (res.statusCode === 401) this.#attempts.inc({ result: 'failure' });
        if (decision !== undefined) this.#authorizations.inc({ result: RESULTS[decision] });
      });
      next();
    };
  }

  /** Wraps what kube-apiserver decides for us so that it is counted: who asks (`authn`), or whether they may (`authz`). */
  delegated<Args extends readonly unknown[], Result>(
    what: 'authn' | 'authz',
    review: (...args: Args) => Promise<Result>,
  ): (...args: Args) => Promise<Result> {
    const { total, durations } = this.#delegated[what];
    return async (...args) => {
      const startedMs = performance.now();
      let code = '<error>';
      try {
        const result = await review(...args);
        code = '201';
        return result;
      } finally {
        total.inc({ code });
        durations.observe({ code }, (performance.now() - startedMs) / 1_000);
      }
    };
  }

  /** A request came with a client certificate that is good until then. */
  sawClientCertificate(validTo: Date): void {
    this.#clientCertificates.observe(Math.max(0, (validTo.getTime() - Date.now()) / 1_000));
  }

  #delegation(name: string, object: string) {
    return {
      total: this.#counter(`apiserver_delegated_${name}_request_total`, `${object}s.`, ['code']),
      durations: new Histogram({
        name: `apiserver_delegated_${name}_request_duration_seconds`,
        help: `Time of a ${object}.`,
        labelNames: ['code'],
        buckets: DELEGATED_BUCKETS,
        registers: [this.registry],
      }),
    };
  }

  servingWith({ expires }: { readonly expires: Date }): void {
    this.#expiry.set(expires.getTime() / 1_000);
  }
}

const RESULTS = { allow: 'allowed', forbid: 'denied', error: 'error' } as const;

const RESOURCE = new RegExp(
  `^/apis/${GROUP_VERSION.replaceAll('.', '\\.')}/namespaces/[^/]+/pods/[^/]+/(mount|unmount)$`,
);
const VERBS: Readonly<Record<string, string>> = {
  GET: 'GET',
  HEAD: 'GET',
  PUT: 'PUT',
  POST: 'POST',
  PATCH: 'PATCH',
  DELETE: 'DELETE',
};

/** Whatever a client sends, there are few different labels. */
function labelsOf(req: Request): Record<(typeof REQUEST_LABELS)[number], string> {
  const [path = '', query = ''] = req.url.split('?', 2);
  const [found, subresource = ''] = RESOURCE.exec(path) ?? [];
  const own = found !== undefined;
  return {
    verb: VERBS[req.method] ?? 'other',
    dry_run: /(?:^|&)dryRun=All(?:&|$)/.test(query) ? 'All' : '',
    group: own ? API_GROUP : '',
    version: own ? API_VERSION : '',
    resource: own ? 'pods' : '',
    subresource,
    scope: own ? 'resource' : '',
    component: 'apiserver',
  };
}
