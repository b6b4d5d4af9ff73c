import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { UnmountRequest } from '../../contract/requests.ts';
import { requestDigest } from '../../contract/signature.ts';
import { unmountRequest } from '../../test/node-worker/memory-node.ts';
import { DurableFiles } from './durable-files.ts';
import { UsedRequests } from './used-requests.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'used-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const request = (id: string, deadlineSeconds = 3_600): UnmountRequest =>
  unmountRequest({ id, deadlineSeconds }).request;
const open = async (nowMs = Date.now(), max = 3): Promise<UsedRequests> =>
  UsedRequests.open(await DurableFiles.open(dir), nowMs, max);

/** What a worker does that is killed as soon as it has been told that the use is noted. */
const KILLED = (signed: UnmountRequest, folder: string): string => `
  import { DurableFiles } from ${JSON.stringify(new URL('./durable-files.ts', import.meta.url).href)};
  import { UsedRequests } from ${JSON.stringify(new URL('./used-requests.ts', import.meta.url).href)};
  const used = await UsedRequests.open(await DurableFiles.open(${JSON.stringify(folder)}), Date.now());
  await used.add(${JSON.stringify(signed)}, ['u1'], Date.now());
  process.kill(process.pid, 'SIGKILL');
`;

describe('UsedRequests', () => {
  test('knows after a SIGKILL what the killed process has noted', async () => {
    const program = KILLED(request('r1'), dir);
    const { signal } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'inherit' });
    expect(signal).toBe('SIGKILL');
    expect((await open()).of(request('r1'))).toEqual(new Set(['u1']));
    expect((await open()).of(request('r2'))).toBeUndefined();
  });

  test('keeps the first use of a request', async () => {
    const used = await open();
    await used.add(request('r1'), ['u1'], Date.now());
    await used.add(request('r1'), ['u2'], Date.now());
    for (const each of [used, await open()]) expect(each.of(request('r1'))).toEqual(new Set(['u1']));
  });

  test('has room for so many, and those that end first go', async () => {
    const used = await open();
    for (const seconds of [3_640, 3_610, 3_630, 3_620, 3_650])
      await used.add(request(`r${seconds}`, seconds), [], Date.now());
    const kept = [3_630, 3_640, 3_650].map((seconds) => requestDigest(request(`r${seconds}`, seconds)));
    expect(new Set(readdirSync(join(dir, 'used')))).toEqual(new Set(kept));
  });

  test('starts although a file is damaged', async () => {
    const used = await open();
    await used.add(request('r1'), [], Date.now());
    writeFileSync(join(dir, 'used', requestDigest(request('r1'))), '{');
    await open();
    expect(readdirSync(join(dir, 'used'))).toEqual([]);
  });
});
