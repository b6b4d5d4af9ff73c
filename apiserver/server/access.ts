import { randomUUID } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import type { Logger } from 'pino';

/** What the access log tells of one request; handlers fill it in. */
export interface AccessRecord {
  /** Given by kube-apiserver, which has the same in its audit log; else made here. */
  readonly auditId: string;
  readonly startedAtMs: number;
  user?: string;
  decision?: 'allow' | 'forbid' | 'error';
  /** Of the answer, when it is a failure. */
  reason?: string;
  /** Namespace and name of the DeviceMount. */
  mount?: string;
  /** Why, when the answer does not tell. */
  err?: unknown;
}

const records = new WeakMap<Response, AccessRecord>();

/** The record of a request that has passed `accessLog`. */
export function accessOf(res: Response): AccessRecord {
  const record = records.get(res);
  if (record === undefined) throw new Error('the request has not passed the access log');
  return record;
}

/** Callers choose it, so only what looks like an id is taken over. */
const AUDIT_ID = /^[A-Za-z0-9-]{1,64}$/;

/** Gives each request an `Audit-ID` and writes one line when its answer is out, or its client gone. */
export function accessLog(log: Logger): RequestHandler {
  return (req, res, next) => {
    const given = req.headersDistinct['audit-id']?.[0] ?? '';
    const record: AccessRecord = {
      auditId: AUDIT_ID.test(given) ? given : randomUUID(),
      startedAtMs: performance.now(),
    };
    records.set(res, record);
    res.setHeader('Audit-ID', record.auditId);
    res.setHeader('X-Content-Type-Options', 'nosniff');
    res.once('close', () => write(log, req, res, record));
    next();
  };
}

function write(log: Logger, req: Request, res: Response, record: AccessRecord): void {
  const { auditId, startedAtMs, err, ...told } = record;
  const aborted = !res.writableFinished;
  const line = {
    auditID: auditId,
    method: req.method,
    path: req.originalUrl.slice(0, 1_024),
    code: aborted ? 499 : res.statusCode,
    durationMs: Math.round(performance.now() - startedAtMs),
    ...told,
    ...(aborted && { aborted }),
    ...(err !== undefined && { err }),
  };
  if (res.statusCode >= 500) log.error(line, 'request');
  // Discovery and probes: many, and nobody's.
  else if (record.user === undefined && res.statusCode < 400) log.debug(line, 'request');
  else log.info(line, 'request');
}
