import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { downloadsOf, parseDigests } from './downloads.ts';
import { filesOf } from './release.ts';
import { TOOLS, type Tool } from './table.ts';

const PINNED = parseDigests(readFileSync(join(import.meta.dirname, 'SHA256SUMS'), 'utf8'));

describe('downloadsOf()', () => {
  test.each<[NodeJS.ProcessEnv, string | undefined]>([
    [{}, 'https://'],
    [{ CI: '' }, 'https://'],
    [{ CI: 'false' }, 'https://'],
    [{ CI: 'true' }, undefined],
    [{ CI: '1' }, undefined],
    [{ DEVICE_MOUNTER_DOWNLOADS: 'off' }, undefined],
    [{ DEVICE_MOUNTER_DOWNLOADS: '' }, 'https://'],
    [{ DEVICE_MOUNTER_DOWNLOADS: 'http://mirror:8000' }, 'http://mirror:8000/'],
    [{ DEVICE_MOUNTER_DOWNLOADS: 'https://mirror/releases/' }, 'https://mirror/releases/'],
    [{ DEVICE_MOUNTER_DOWNLOADS: 'https://mirror', CI: 'true' }, 'https://mirror/'],
  ])('with %j takes files from %j', (env, base) => {
    const downloads = downloadsOf(env);
    expect(downloads?.base).toBe(base);
    if (base !== undefined) expect(downloads).toEqual({ base, digests: PINNED });
  });

  test.each<[NodeJS.ProcessEnv, string]>([
    [{ DEVICE_MOUNTER_DOWNLOADS: 'no' }, 'neither "off" nor a URL'],
    [{ DEVICE_MOUNTER_DOWNLOADS: 'file:///srv/mirror' }, 'neither "off" nor a URL'],
    [{ DEVICE_MOUNTER_DIGESTS: '/srv/SHA256SUMS' }, 'belongs to a mirror'],
    [{ DEVICE_MOUNTER_DIGESTS: '/srv/SHA256SUMS', DEVICE_MOUNTER_DOWNLOADS: 'off' }, 'belongs to a mirror'],
  ])('refuses %j', (env, reason) => {
    expect(() => downloadsOf(env)).toThrow(reason);
  });

  test("takes a mirror's own digests, and says whose they are", () => {
    const folder = mkdtempSync(join(tmpdir(), 'digests-'));
    const foreign = join(folder, 'SHA256SUMS');
    writeFileSync(foreign, `${'a'.repeat(64)}  example.com/file\n`);
    const env = { DEVICE_MOUNTER_DOWNLOADS: 'http://mirror', DEVICE_MOUNTER_DIGESTS: foreign };
    const digests = new Map([['example.com/file', 'a'.repeat(64)]]);
    expect(downloadsOf(env)).toEqual({ base: 'http://mirror/', digests, foreign });
    rmSync(folder, { recursive: true });
  });
});

describe('parseDigests()', () => {
  test.each([
    'abc  file',
    `${'A'.repeat(64)}  file`,
    `${'a'.repeat(64)} file`,
    `${'a'.repeat(64)}  file name`,
    '<html>',
  ])('refuses %j and names its line', (line) => {
    expect(() => parseDigests(`# a comment\n${line}\n`)).toThrow('line 2 is not');
  });
});

describe('SHA256SUMS', () => {
  const tools: readonly Tool[] = TOOLS;
  const released = tools.filter(({ release }) => release !== undefined);

  test.each(['amd64', 'arm64'])('has every release file of %s', (arch) => {
    const downloads = { base: 'https://', digests: PINNED };
    const found = released.filter((tool) => filesOf(tool, downloads, arch) !== undefined);
    expect(found.map(({ name }) => name)).toEqual(['runc', 'cni', 'etcd', 'containerd', 'temporal', 'kubernetes']);
  });

  test('has nothing else', () => {
    const addresses = released.flatMap(({ release = [] }) =>
      release.flatMap(({ address }) => ['amd64', 'arm64'].map((arch) => address.replaceAll('{arch}', arch))),
    );
    expect([...PINNED.keys()].sort()).toEqual(addresses.sort());
  });

  test('has the versions that the Go modules build', () => {
    for (const { name, version, release } of released) {
      expect(readFileSync(join(import.meta.dirname, name, 'go.mod'), 'utf8')).toContain(` v${version}`);
      for (const { address } of release ?? []) expect(address).toContain(`v${version}/`);
    }
  });

  test('leaves a tool to be built when one of its files has no digest', () => {
    const kubernetes = tools.find(({ name }) => name === 'kubernetes');
    const digests = new Map([...PINNED].filter(([address]) => !address.endsWith('amd64/kubelet')));
    if (kubernetes === undefined) throw new Error('No kubernetes');
    expect(filesOf(kubernetes, { base: 'https://', digests }, 'amd64')).toBeUndefined();
    expect(filesOf(kubernetes, { base: 'https://', digests }, 'arm64')).toHaveLength(6);
    expect(filesOf(kubernetes, { base: 'https://', digests }, 'riscv64')).toBeUndefined();
  });
});
