import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Host, sha256, startHost, UNHURRIED } from '../../test/mirror/host.ts';
import { Progress } from './progress.ts';
import type { Patience } from './tools/download.ts';
import { TOOLS, type Tool } from './tools/table.ts';
import { ensureTools, planTools } from './tools.ts';

const RELEASED = '#!/bin/sh\necho released\n';
const ADDRESS = 'example.com/runc-without-limits';
/** The smallest of ours, as if it had a release: it needs no module and is built in a second or two. */
const TOOL: Tool = {
  ...TOOLS[1],
  release: [{ address: ADDRESS, binary: 'runc-without-limits' }],
};

let root: string;
let host: Host | undefined;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tools-'));
  writeFileSync(join(root, 'SHA256SUMS'), `${sha256(RELEASED)}  ${ADDRESS}\n`);
});
afterEach(async () => {
  await host?.close();
  host = undefined;
  rmSync(root, { recursive: true });
});

const cache = (): string => join(root, 'cache');

function environment(downloads: string): NodeJS.ProcessEnv {
  const own = { DEVICE_MOUNTER_DOWNLOADS: downloads, DEVICE_MOUNTER_TOOLS: cache() };
  return downloads === 'off' ? own : { ...own, DEVICE_MOUNTER_DIGESTS: join(root, 'SHA256SUMS') };
}

/** What is said, and what the tool's binary says of itself. */
async function ensured(
  env: NodeJS.ProcessEnv,
  patience: Partial<Patience> = {},
  signal = new AbortController().signal,
): Promise<{ readonly said: string; readonly binary: string }> {
  const out = new PassThrough();
  const said = text(out);
  const folders = await ensureTools(new Progress(out as unknown as NodeJS.WriteStream), join(root, 'log'), {
    env,
    tools: [TOOL],
    signal,
    patience: { ...UNHURRIED, ...patience },
  });
  out.end();
  const command = join(folders['runc-without-limits'], 'runc-without-limits');
  // Built, it does nothing for `update`.
  return { said: await said, binary: execFileSync(command, ['update'], { encoding: 'utf8' }) };
}

async function ensuredFrom(
  answer: RequestListener,
  patience?: Partial<Patience>,
  signal?: AbortSignal,
): ReturnType<typeof ensured> {
  host = await startHost(answer);
  return ensured(environment(host.url), patience, signal);
}

const namesOf = (tools: readonly { readonly tool: Tool }[]): string[] => tools.map(({ tool }) => tool.name);

describe('ensureTools()', () => {
  test('uses a release that has the digest, and asks for it once', async () => {
    const { said, binary } = await ensuredFrom((_request, response) => response.end(RELEASED));
    expect(binary).toBe('released\n');
    expect(said).toMatch(/^WARNING: downloads are checked with .*SHA256SUMS, not with this repository's digests/);
    expect(said).toContain('✓ download runc-without-limits');
    const again = await ensured(environment(host?.url ?? ''));
    expect(again.binary).toBe('released\n');
    expect(host?.asked).toEqual([`/${ADDRESS}`]);
  });

  test.each<[string, RequestListener, RegExp, Partial<Patience>?]>([
    [
      'has another digest',
      (_request, response) => response.end('#!/bin/sh\necho forged\n'),
      /^WARNING: http:.* has the SHA-256 .*, not the published .*\. It was deleted, and is not used: runc-without-limits will be built\.$/m,
    ],
    [
      'says nothing',
      () => undefined,
      /^127.* does not answer within 0.3 s: runc-without-limits will be built\.$/m,
      { headMs: 300 },
    ],
    [
      'answers half',
      (_request, response) => response.writeHead(200, { 'content-length': RELEASED.length }).write('#!/bin/sh'),
      /^127.* sent nothing for 0.3 s: runc-without-limits will be built\.$/m,
      { pieceMs: 300 },
    ],
    ['does not have it', (_request, response) => response.writeHead(404).end(), /^127.* answers 404 for .*built\.$/m],
  ])('builds when the host %s, and says why', async (_what, answer, sentence, patience = {}) => {
    const { said, binary } = await ensuredFrom(answer, patience);
    expect(binary).toBe('');
    expect(said).toMatch(sentence);
    expect(said).toContain('✗ download runc-without-limits');
    expect(said).toContain('✓ build runc-without-limits 1 (1 of 1)');
    expect(readdirSync(join(cache(), 'downloads'))).toEqual([]);
    expect(readdirSync(join(root, 'log')).sort()).toEqual([
      'build-runc-without-limits.log',
      'download-runc-without-limits.log',
    ]);
  });

  test('ends at an interruption, and builds nothing', async () => {
    const interrupted = new AbortController();
    const attempt = ensuredFrom(
      (_request, response) => {
        response.writeHead(200, { 'content-length': RELEASED.length }).write('#!/bin/sh');
        interrupted.abort(new Error('Interrupted.'));
      },
      {},
      interrupted.signal,
    );
    await expect(attempt).rejects.toThrow('Interrupted.');
    expect(readdirSync(cache())).toEqual(['downloads']);
    expect(existsSync(join(root, 'log'))).toBe(false);
  });

  test('never takes what foreign digests proved for its own', async () => {
    await ensuredFrom((_request, response) => response.end(RELEASED));
    expect(readdirSync(cache())).toHaveLength(2);
    const { said, binary } = await ensured(environment('off'));
    expect(binary).toBe('');
    expect(said).not.toContain('WARNING');
    expect(readdirSync(cache())).toHaveLength(3);
  });
});

describe('planTools()', () => {
  test('downloads all that has a release, and builds the rest', () => {
    const { toFetch, toBuild } = planTools({ DEVICE_MOUNTER_TOOLS: cache() });
    expect(namesOf(toFetch)).toEqual(['runc', 'cni', 'etcd', 'containerd', 'temporal', 'kubernetes']);
    expect(namesOf(toBuild)).toEqual(['runc-without-limits']);
  });

  test('builds everything in CI', () => {
    const { toFetch, toBuild } = planTools({ DEVICE_MOUNTER_TOOLS: cache(), CI: 'true' });
    expect(namesOf(toFetch)).toEqual([]);
    expect(namesOf(toBuild)).toEqual(TOOLS.map(({ name }) => name));
  });
});
