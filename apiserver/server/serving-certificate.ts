import { createPrivateKey, X509Certificate } from 'node:crypto';
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Key and certificate chain of the server, in PEM. */
export interface ServingPair {
  readonly key: string;
  readonly cert: string;
  readonly expires: Date;
}

/** A Secret volume is swapped by a symlink, which a watch of the directory sees; where it does not, this often is enough. */
const POLL_MS = 60_000;

/** Reads `tls.crt` and `tls.key`. Rejects when one is missing or they do not belong together. */
export async function readServingPair(directory: string): Promise<ServingPair> {
  const [cert, key] = await Promise.all([
    readFile(join(directory, 'tls.crt'), 'utf8'),
    readFile(join(directory, 'tls.key'), 'utf8'),
  ]);
  const leaf = new X509Certificate(cert);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) {
    throw new Error(`Cannot use the certificate in ${directory}: its key must be tls.key, is another`);
  }
  return { key, cert, expires: leaf.validToDate };
}

interface PairLog {
  readonly info: (object: object, message: string) => void;
  readonly warn: (object: object, message: string) => void;
}

/** Hands each new pair to `apply`. A pair that cannot be read, or does not fit, leaves the one before. Answers how to stop. */
export function watchServingPair(
  directory: string,
  first: ServingPair,
  log: PairLog,
  apply: (pair: ServingPair) => void,
): () => void {
  let current = first;
  let queue = Promise.resolve();
  const check = () => {
    queue = queue.then(async () => {
      try {
        const pair = await readServingPair(directory);
        if (pair.cert === current.cert && pair.key === current.key) return;
        apply(pair);
        current = pair;
        log.info({ expires: pair.expires }, 'serving with a new certificate');
      } catch (err) {
        log.warn({ err }, 'cannot read the serving certificate, the one before stays');
      }
    });
  };
  const watcher = watch(directory, check);
  watcher.on('error', (err) => log.warn({ err }, 'cannot watch the serving certificate'));
  const timer = setInterval(check, POLL_MS).unref();
  return () => {
    watcher.close();
    clearInterval(timer);
  };
}
