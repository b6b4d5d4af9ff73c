import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { type Dispatcher, EnvHttpProxyAgent, request } from 'undici';

/** How long a host may be silent. */
export interface Patience {
  /** From the request to the answer's head, at each host. */
  readonly headMs: number;
  /** Between two pieces of a file. */
  readonly pieceMs: number;
  /** For a whole file. */
  readonly fileMs: number;
}

/** A file that takes longer could have been built meanwhile. */
export const PATIENCE: Patience = { headMs: 3_000, pieceMs: 10_000, fileMs: 300_000 };

/** Told as a download goes on: the size once it is known, then each piece. */
export interface Meter {
  size(bytes: number): void;
  piece(bytes: number): void;
}

/** The file is not the one that was published. */
export class WrongDigest extends Error {}

/** Where GitHub and Kubernetes keep the files of their releases; anywhere else is a login page or worse. */
const SENDS_ON: Readonly<Record<string, RegExp>> = {
  'github.com': /(^|\.)githubusercontent\.com$/,
  'dl.k8s.io': /^cdn\.dl\.k8s\.io$/,
};
const MOST_REDIRECTS = 3;

export interface DownloadOptions {
  readonly patience: Patience;
  readonly meter: Meter;
  readonly signal: AbortSignal;
}

/**
 * Writes what is at `url` to `file`, and answers when its SHA-256 is `digest`; the file is of no use when this throws. Throws
 * `WrongDigest`, or an error that says in half a sentence what the host did. Proxies are taken from the usual environment variables.
 */
export async function download(url: URL, file: string, digest: string, options: DownloadOptions): Promise<void> {
  const { patience, meter } = options;
  const dispatcher = new EnvHttpProxyAgent({ bodyTimeout: patience.pieceMs });
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(patience.fileMs)]);
  try {
    const { body, host } = await open(url, dispatcher, { ...options, signal });
    const hash = createHash('sha256');
    const written = createWriteStream(file);
    const closed = new Promise<void>((resolve) => {
      written.once('close', resolve);
    });
    await pipeline(
      body,
      async function* measure(pieces: AsyncIterable<Buffer>) {
        for await (const piece of pieces) {
          hash.update(piece);
          meter.piece(piece.length);
          yield piece;
        }
      },
      written,
      { signal },
    ).catch(async (err: unknown) => {
      // One that is stopped may still be about to make the file.
      await closed;
      throw new Error(`${host} ${stopOf(err, patience)}`, { cause: err });
    });
    const found = hash.digest('hex');
    if (found !== digest) throw new WrongDigest(`${url.href} has the SHA-256 ${found}, not the published ${digest}`);
  } finally {
    await dispatcher.destroy();
  }
}

/** Asks for `url` and follows the redirects that may be followed, up to an answer with a body. */
async function open(
  url: URL,
  dispatcher: Dispatcher,
  options: DownloadOptions,
): Promise<{ readonly body: Dispatcher.ResponseData['body']; readonly host: string }> {
  let at = url;
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects += 1) {
    const { statusCode, headers, body } = await head(at, dispatcher, options);
    if (statusCode === 200) {
      options.meter.size(Number(headers['content-length'] ?? 0));
      return { body, host: at.host };
    }
    // Without a listener undici's error of an unread body would end the process.
    body.on('error', () => undefined).destroy();
    const location = headers['location'];
    if (statusCode < 300 || statusCode > 399 || typeof location !== 'string')
      throw new Error(`${at.host} answers ${statusCode} for ${at.pathname}`);
    const next = new URL(location, at);
    if (!maySendOn(at, next)) throw new Error(`${at.host} redirects to ${next.host}`);
    at = next;
  }
  throw new Error(`${at.host} redirects without an end`);
}

/** Whether a host may redirect to another place: its own, or where these makers are known to keep their files. */
export function maySendOn(from: URL, to: URL): boolean {
  if (to.origin === from.origin) return true;
  return from.protocol === 'https:' && to.protocol === 'https:' && SENDS_ON[from.host]?.test(to.host) === true;
}

async function head(
  url: URL,
  dispatcher: Dispatcher,
  { patience, signal }: DownloadOptions,
): Promise<Dispatcher.ResponseData> {
  const silent = new AbortController();
  const timer = setTimeout(() => silent.abort(), patience.headMs);
  try {
    return await request(url, { dispatcher, signal: AbortSignal.any([silent.signal, signal]) });
  } catch (err) {
    if (isTimeout(signal.reason)) throw new Error(`${url.host} ${tooSlow(patience)}`, { cause: err });
    signal.throwIfAborted();
    const reason = silent.signal.aborted ? `does not answer within ${patience.headMs / 1_000} s` : unreachable(err);
    throw new Error(`${url.host} ${reason}`, { cause: err });
  } finally {
    clearTimeout(timer);
  }
}

const codeOf = (err: unknown): string => (err as NodeJS.ErrnoException).code ?? String(err);
const isTimeout = (reason: unknown): boolean => (reason as Partial<Error> | undefined)?.name === 'TimeoutError';
const tooSlow = ({ fileMs }: Patience): string => `needs more than ${fileMs / 1_000} s`;
const unreachable = (err: unknown): string => `cannot be reached (${codeOf(err)})`;

function stopOf(err: unknown, patience: Patience): string {
  if (isTimeout(err)) return tooSlow(patience);
  if (codeOf(err) === 'UND_ERR_BODY_TIMEOUT') return `sent nothing for ${patience.pieceMs / 1_000} s`;
  return `stopped in the middle of a file (${codeOf(err)})`;
}
