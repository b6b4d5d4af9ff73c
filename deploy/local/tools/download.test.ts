import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { RequestListener, ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Host, sha256, startHost, UNHURRIED } from '../../../test/mirror/host.ts';
import { download, maySendOn, type Patience, WrongDigest } from './download.ts';
import { ByteShare } from './share.ts';

const CONTENT = 'the released file, in two pieces';
let folder: string;
let host: Host | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'download-'));
});
afterEach(async () => {
  await host?.close();
  host = undefined;
  rmSync(folder, { recursive: true });
});

const file = (): string => join(folder, 'file');

async function downloadFrom(answer: RequestListener, patience = UNHURRIED): Promise<ByteShare> {
  host = await startHost(answer);
  const meter = new ByteShare();
  const signal = new AbortController().signal;
  await download(new URL('file', host.url), file(), sha256(CONTENT), { patience, meter, signal });
  return meter;
}

const half = (response: ServerResponse): ServerResponse => {
  response.writeHead(200, { 'content-length': CONTENT.length });
  response.write(CONTENT.slice(0, 10));
  return response;
};

describe('download()', () => {
  test('writes the file when the digest is right, and counts its bytes', async () => {
    const meter = await downloadFrom((_request, response) => half(response).end(CONTENT.slice(10)));
    expect(readFileSync(file(), 'utf8')).toBe(CONTENT);
    expect(meter.text()).toBe('0 of 1 MB, 100 %');
  });

  test('takes a file that a mirror calls compressed as it is', async () => {
    await downloadFrom((_request, response) => {
      response.setHeader('content-encoding', 'gzip');
      response.end(CONTENT);
    });
    expect(readFileSync(file(), 'utf8')).toBe(CONTENT);
  });

  test('follows a redirect on the same host', async () => {
    await downloadFrom((request, response) => {
      if (request.url === '/file') response.writeHead(302, { location: '/blobs/1' }).end();
      else response.end(CONTENT);
    });
    expect(host?.asked).toEqual(['/file', '/blobs/1']);
  });

  test('throws WrongDigest for another content', async () => {
    const attempt = downloadFrom((_request, response) => response.end('something else'));
    await expect(attempt).rejects.toThrow(WrongDigest);
    await expect(attempt).rejects.toThrow(`has the SHA-256 ${sha256('something else')}, not the published`);
  });

  test.each<[string, RequestListener, string, Partial<Patience>?]>([
    ['says nothing', () => undefined, 'does not answer within 0.2 s', { headMs: 200 }],
    ['stops sending', (_request, response) => half(response), 'sent nothing for 0.3 s', { pieceMs: 300 }],
    [
      'answers half',
      (_request, response) => half(response).write('more', () => response.destroy()),
      'stopped in the middle of a file',
    ],
    ['has no such file', (_request, response) => response.writeHead(404).end('no'), 'answers 404 for /file'],
    ['is broken', (_request, response) => response.writeHead(503).end(), 'answers 503 for /file'],
    [
      'sends on to a login page',
      (_request, response) => response.writeHead(302, { location: 'http://login.example/' }).end(),
      'redirects to login.example',
    ],
    [
      'sends on for ever',
      (_request, response) => response.writeHead(302, { location: '/file' }).end(),
      'redirects without an end',
    ],
    ['sends on without saying where', (_request, response) => response.writeHead(302).end(), 'answers 302 for /file'],
  ])('names the host that %s', async (_what, answer, reason, patience = {}) => {
    const attempt = downloadFrom(answer, { ...UNHURRIED, ...patience });
    await expect(attempt).rejects.toThrow(reason);
    await expect(attempt).rejects.not.toThrow(WrongDigest);
    await expect(attempt).rejects.toThrow(/^127\.0\.0\.1:\d+ /);
  });

  test('asks the proxy that the environment names', async () => {
    const proxy = await startHost((request, response) => {
      response.end(request.url === 'http://mirror.invalid/file' ? CONTENT : 'not asked as a proxy');
    });
    process.env['http_proxy'] = proxy.url;
    try {
      const options = { patience: UNHURRIED, meter: new ByteShare(), signal: new AbortController().signal };
      await download(new URL('http://mirror.invalid/file'), file(), sha256(CONTENT), options);
    } finally {
      delete process.env['http_proxy'];
      await proxy.close();
    }
  });

  test('gives up on a host that sends a little now and then', async () => {
    const attempt = downloadFrom(
      (_request, response) => {
        half(response);
        const drip = setInterval(() => response.write('.'), 50);
        response.once('close', () => clearInterval(drip));
      },
      { ...UNHURRIED, fileMs: 1_000 },
    );
    await expect(attempt).rejects.toThrow('needs more than 1 s');
  });

  test('names a host where nothing listens', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    await new Promise((resolve) => server.close(resolve));
    if (address === null || typeof address === 'string') throw new Error('No port');
    const url = new URL(`http://127.0.0.1:${address.port}/file`);
    const options = { patience: UNHURRIED, meter: new ByteShare(), signal: new AbortController().signal };
    await expect(download(url, file(), sha256(CONTENT), options)).rejects.toThrow('cannot be reached (ECONNREFUSED)');
  });
});

describe('maySendOn()', () => {
  test.each([
    ['https://github.com/a', 'https://release-assets.githubusercontent.com/b', true],
    ['https://github.com/a', 'https://objects.githubusercontent.com/b', true],
    ['https://dl.k8s.io/a', 'https://cdn.dl.k8s.io/b', true],
    ['http://mirror:8000/a', 'http://mirror:8000/b', true],
    ['https://github.com/a', 'http://release-assets.githubusercontent.com/b', false],
    ['https://github.com/a', 'https://notgithubusercontent.com/b', false],
    ['https://github.com/a', 'https://githubusercontent.com.example/b', false],
    ['https://dl.k8s.io/a', 'https://release-assets.githubusercontent.com/b', false],
    ['https://mirror/a', 'https://github.com/b', false],
    ['https://mirror/a', 'http://mirror/b', false],
    ['http://mirror:8000/a', 'http://mirror:9000/b', false],
  ])('from %s to %s is %p', (from, to, may) => {
    expect(maySendOn(new URL(from), new URL(to))).toBe(may);
  });
});
