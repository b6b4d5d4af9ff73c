import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { archiveOf, type Host, sha256, startHost, UNHURRIED } from '../../../test/mirror/host.ts';
import { until } from '../wait.ts';
import { type FetchOptions, fetchRelease } from './release.ts';
import { ByteShare } from './share.ts';
import type { Tool } from './table.ts';

const TOOL: Tool = {
  name: 'pair',
  version: '1',
  packages: [],
  usualMinutes: 1,
  release: [
    { address: 'one.example/v1/{arch}/tool', binary: 'tool' },
    { address: 'two.example/more-{arch}.tgz', members: ['more-{arch}/more'] },
  ],
};
const BINARY = Buffer.from('the tool');

let archive: Buffer;
let files: Readonly<Record<string, Buffer>>;
let root: string;
let host: Host;

beforeAll(async () => {
  archive = await archiveOf({ name: 'more-amd64/more', text: 'more' }, { name: 'more-amd64/unused', text: 'unused' });
  files = { '/one.example/v1/amd64/tool': BINARY, '/two.example/more-amd64.tgz': archive };
});
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'release-'));
});
afterEach(async () => {
  await host.close();
  rmSync(root, { recursive: true });
});

const folder = (): string => join(root, 'pair-1');

function optionsOf(url: string): FetchOptions {
  const digests = new Map([
    ['one.example/v1/amd64/tool', sha256(BINARY)],
    ['two.example/more-amd64.tgz', sha256(archive)],
  ]);
  const [meter, signal] = [new ByteShare(), new AbortController().signal];
  const scratch = join(root, 'downloads', 'pair-1');
  return { downloads: { base: url, digests }, arch: 'amd64', scratch, patience: UNHURRIED, meter, signal };
}

async function fetchFrom(answer: RequestListener): Promise<void> {
  host = await startHost(answer);
  await fetchRelease(TOOL, folder(), optionsOf(host.url));
}

const good: RequestListener = (request, response) => response.end(files[request.url ?? '']);

function expectComplete(): void {
  expect(readdirSync(folder()).sort()).toEqual(['more', 'tool']);
  expect(readFileSync(join(folder(), 'tool'))).toEqual(BINARY);
  expect(readFileSync(join(folder(), 'more'), 'utf8')).toBe('more');
  expect(statSync(join(folder(), 'tool')).mode & 0o7777).toBe(0o755);
  expect(existsSync(join(root, 'downloads', 'pair-1'))).toBe(false);
}

describe('fetchRelease()', () => {
  test('makes the folder of the binaries, from the address of each file behind the base', async () => {
    await fetchFrom(good);
    expectComplete();
    expect([...host.asked].sort()).toEqual(Object.keys(files));
  });

  test.each<[string, RequestListener, string]>([
    [
      'binary is another one',
      (request, response) => (request.url?.endsWith('tool') ? response.end('bad') : good(request, response)),
      'has the SHA-256',
    ],
    [
      'archive is another one',
      (request, response) => (request.url?.endsWith('tgz') ? response.end('bad') : good(request, response)),
      'has the SHA-256',
    ],
    [
      'archive is missing',
      (request, response) => (request.url?.endsWith('tgz') ? response.writeHead(404).end() : good(request, response)),
      'answers 404',
    ],
  ])('leaves nothing when the %s', async (_what, answer, reason) => {
    await expect(fetchFrom(answer)).rejects.toThrow(reason);
    expect(readdirSync(root)).toEqual(['downloads']);
    expect(readdirSync(join(root, 'downloads'))).toEqual([]);
  });

  test('ends the other downloads when one has failed', async () => {
    const started = performance.now();
    await expect(
      fetchFrom((request, response) => {
        if (request.url?.endsWith('tgz')) response.writeHead(404).end();
        else response.writeHead(200, { 'content-length': 100 }).write('never more');
      }),
    ).rejects.toThrow('answers 404');
    expect(performance.now() - started).toBeLessThan(UNHURRIED.pieceMs);
  });

  test('begins anew after SIGKILL between two files', async () => {
    host = await startHost((request, response) => {
      if (request.url?.endsWith('tgz')) good(request, response);
      else response.writeHead(200, { 'content-length': 1_000 }).write('the first half');
    });
    const child = fetchingChild(optionsOf(host.url));
    const ended = once(child, 'exit');
    const unpacked = join(root, 'downloads', 'pair-1', 'bin', 'more');
    await until('the archive to be unpacked', () => existsSync(unpacked), { timeoutMs: 120_000 });
    child.kill('SIGKILL');
    await ended;
    expect(existsSync(folder())).toBe(false);
    await host.close();
    await fetchFrom(good);
    expectComplete();
  });
});

/** A process of its own that does what `fetchRelease` does with these options. */
function fetchingChild({ downloads, arch, scratch, patience }: FetchOptions): ChildProcess {
  const script = `
    import { fetchRelease } from ${JSON.stringify(join(import.meta.dirname, 'release.ts'))};
    const [tool, folder, { digests, base, ...options }] = JSON.parse(process.argv[1]);
    const meter = { size() {}, piece() {} };
    const signal = new AbortController().signal;
    await fetchRelease(tool, folder, { ...options, downloads: { base, digests: new Map(digests) }, meter, signal });
  `;
  const { base, digests } = downloads;
  const options = { arch, scratch, patience, base, digests: [...digests] };
  const args = ['--no-warnings', '--input-type=module', '--eval', script, JSON.stringify([TOOL, folder(), options])];
  return spawn(process.execPath, args, { env: {}, stdio: ['ignore', 'ignore', 'inherit'] });
}
