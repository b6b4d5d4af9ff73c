import type { Express, Request, Response } from 'express';
import { fail } from '../../contract/failures.ts';
import { API_GROUP, API_VERSION, GROUP_VERSION } from '../../contract/names.ts';
import { type Document, documentOf, GROUP_DOCUMENT, groupsDocument, RESOURCES_DOCUMENT } from './discovery.ts';
import { acceptedRanges } from './negotiation.ts';
import { OPENAPI_V2, OPENAPI_V3, OPENAPI_V3_HASH, OPENAPI_V3_ROOT } from './openapi.ts';
import { sendDocument, sendFailure } from './respond.ts';

/** kube-apiserver's form of `/version`, so that clients of it can read ours. */
const VERSION = documentOf({
  major: '0',
  minor: '1',
  gitVersion: 'v0.1.0',
  platform: `${process.platform}/${process.arch}`,
  compiler: `node ${process.version}`,
});

/** Public and from memory: while these fail, no namespace of the cluster can be deleted. */
export function publicRoutes(app: Express): void {
  const serve = (path: string, documentFor: (req: Request) => Document) => {
    app.get(path, (req, res) => {
      if (acceptsJson(req, res)) sendDocument(req, res, documentFor(req));
    });
  };
  app.get('/apis', (req, res) => sendDocument(req, res, groupsDocument(req.headers.accept)));
  app.get(`/apis/${API_GROUP}`, (req, res) => sendDocument(req, res, GROUP_DOCUMENT));
  app.get(`/apis/${API_GROUP}/${API_VERSION}`, (req, res) => sendDocument(req, res, RESOURCES_DOCUMENT));
  serve('/openapi/v2', () => OPENAPI_V2);
  serve('/openapi/v3', () => OPENAPI_V3_ROOT);
  app.get(`/openapi/v3/apis/${GROUP_VERSION}`, (req, res) => {
    if (!acceptsJson(req, res)) return;
    // A stale hash gets the document of today: kube-apiserver's proxy refuses redirects.
    const current = new RegExp(`[?&]hash=${OPENAPI_V3_HASH}(?:&|$)`).test(req.url);
    sendDocument(req, res, OPENAPI_V3, current ? 'public, immutable, max-age=31536000' : undefined);
  });
  serve('/version', () => VERSION);
}

function acceptsJson(req: Request, res: Response): boolean {
  const types = ['application/json', 'application/*', '*/*'];
  if (acceptedRanges(req.headers.accept).some(({ type }) => types.includes(type))) return true;
  sendFailure(req, res, fail('NotAcceptable', 'only the following media types are accepted: application/json'));
  return false;
}
