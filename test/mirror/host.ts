import { createHash } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import type { Patience } from '../../deploy/local/tools/download.ts';

/** Of somebody who waits for a host on this machine, which may stand still for seconds. */
export const UNHURRIED: Patience = { headMs: 60_000, pieceMs: 60_000, fileMs: 300_000 };

/** A web server on loopback that answers as a test tells it to. */
export interface Host {
  /** Ends with a slash. */
  readonly url: string;
  /** Paths that were asked for, in order. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

export async function startHost(answer: RequestListener): Promise<Host> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export type Member = Partial<Header> & Pick<Header, 'name'> & { readonly text?: string };

/** A gzipped tar of `members`, as they are told: with any name and type. */
export async function archiveOf(...members: readonly Member[]): Promise<Buffer> {
  const archive = pack();
  for (const { text = '', ...header } of members) archive.entry(header, text);
  archive.finalize();
  return gzipSync(await buffer(archive as AsyncIterable<Buffer>));
}

export const sha256 = (content: Buffer | string): string => createHash('sha256').update(content).digest('hex');
