import { fail } from '../../contract/failures.ts';

/** The names in our paths need no escapes, so that a path has one spelling and every part of it is what it looks like. */
const PLAIN_PATH = /^(?:\/[A-Za-z0-9._~-]+)*\/?$/;

/**
 * Checks the path of a request line before anything is derived from it: an escaped slash, an empty segment or `..` could make
 * the authorised path differ from the executed one.
 * @throws BadRequest
 */
export function checkRawPath(url: string): void {
  const [path = ''] = url.split('?', 1);
  const plain = PLAIN_PATH.test(path) && !path.split('/').some((segment) => segment === '.' || segment === '..');
  if (!plain) {
    throw fail('BadRequest', 'Cannot serve the path: it must hold plain names between single slashes, without escapes');
  }
}

/** RFC 1123 label, as namespaces are named. */
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;

export function isLabel(name: string): boolean {
  return LABEL.test(name);
}

/** RFC 1123 subdomain, as pods are named. */
export function isSubdomain(name: string): boolean {
  return name.length <= 253 && SUBDOMAIN.test(name);
}
