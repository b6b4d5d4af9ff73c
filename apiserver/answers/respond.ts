import type { Request, Response } from 'express';
import { accessOf } from '../server/access.ts';
import type { Document } from './discovery.ts';
import { retryAfterHeader, type StatusSubject, statusOf } from './status.ts';

/** Sends a value as JSON, for people (curl, a browser, `pretty`) with line breaks. */
export function sendJson(req: Request, res: Response, code: number, value: unknown): void {
  const forPeople =
    /[?&]pretty=(?:1|true)(?:&|$)/.test(req.url) || /^(?:curl|Wget|Mozilla)\//.test(req.headers['user-agent'] ?? '');
  send(res, code, 'application/json', `${JSON.stringify(value, undefined, forPeople ? 2 : undefined)}\n`);
}

export function sendText(res: Response, code: number, text: string): void {
  send(res, code, 'text/plain; charset=utf-8', text);
}

function send(res: Response, code: number, contentType: string, body: string): void {
  if (res.headersSent) return;
  res.writeHead(code, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': res.getHeader('Cache-Control') ?? 'no-cache, private',
  });
  res.end(body);
}

/** Sends a document from memory, or that the client has it already. */
export function sendDocument(req: Request, res: Response, { contentType, body, etag }: Document, cache?: string): void {
  res.setHeader('ETag', etag);
  res.setHeader('Vary', 'Accept');
  if (cache !== undefined) res.setHeader('Cache-Control', cache);
  if (req.headers['if-none-match']?.includes(etag)) {
    res.writeHead(304).end();
    return;
  }
  send(res, 200, contentType, body);
}

/** Sends the Status of a failure. What the Status withholds goes to the log. */
export function sendFailure(req: Request, res: Response, err: unknown, subject?: StatusSubject): void {
  const access = accessOf(res);
  const status = statusOf(err, access.auditId, subject);
  access.reason = status.details?.causes?.[0]?.reason ?? status.reason;
  if (status.code === 401 || status.code >= 500) access.err = err;
  const retryAfter = retryAfterHeader(status);
  if (retryAfter !== undefined) res.setHeader('Retry-After', retryAfter);
  // Who could not say who they are gets no connection to try on.
  if (status.code === 401 || status.code === 413) res.setHeader('Connection', 'close');
  sendJson(req, res, status.code, status);
}

/** Room for a sentence with what to do and for the longest name of a container. */
const WARNING_LENGTH = 512;

/** Something to know about a request that was served all the same; kubectl prints it. RFC 7234 5.5. */
export function warn(res: Response, text: string): void {
  const quoted = text
    .slice(0, WARNING_LENGTH)
    .replace(/[^\x20-\x7e]/g, '?')
    .replace(/["\\]/g, '\\$&');
  if (!res.headersSent) res.appendHeader('Warning', `299 - "${quoted}"`);
}
