import type { IncomingMessage } from 'node:http';
import { fail } from '../../contract/failures.ts';

/** A mount request has a few hundred bytes. */
const LIMIT_BYTES = 64 * 1_024;

/**
 * The body of a request, whatever its type; empty when there is none.
 * @throws RequestTooLarge, BadRequest when it is compressed or breaks off
 */
export async function readBody(req: IncomingMessage): Promise<Uint8Array> {
  const encoding = req.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw fail('BadRequest', 'Cannot read the body: it must not be compressed');
  }
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    // The connection must outlive a body that is too long, to carry the answer.
    for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > LIMIT_BYTES) break;
      chunks.push(chunk);
    }
  } catch (err) {
    throw fail('BadRequest', 'Cannot read the body: it broke off', err);
  }
  if (size > LIMIT_BYTES) throw fail('RequestTooLarge', `Request entity too large: limit is ${LIMIT_BYTES}`);
  return Buffer.concat(chunks);
}
