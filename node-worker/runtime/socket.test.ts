import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { criSocketOf } from './socket.ts';

const CONTAINERD = '/run/containerd/containerd.sock';

let root: string;
let servers: Server[];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'host-'));
  servers = [];
});
afterEach(() => {
  for (const server of servers) server.close();
  rmSync(root, { recursive: true });
});

/** Listens below the root of the host. Answers the path that is to be found. */
async function listen(path: string): Promise<string> {
  const place = join(root, path);
  mkdirSync(dirname(place), { recursive: true });
  const server = createServer().listen(place);
  servers.push(server);
  await once(server, 'listening');
  return place;
}

describe('criSocketOf()', () => {
  test.each([
    '/run/k3s/containerd/containerd.sock',
    '/run/k0s/containerd.sock',
    '/var/snap/microk8s/common/run/containerd.sock',
    '/run/crio/crio.sock',
    '/run/cri-dockerd.sock',
  ])("takes %s, not the containerd that is Docker's", async (path) => {
    await listen(CONTAINERD);
    const expected = await listen(path);
    expect(criSocketOf(undefined, root)).toBe(expected);
  });

  test('finds the one that listens, and nothing that only has the name', async () => {
    mkdirSync(join(root, 'run/crio'), { recursive: true });
    writeFileSync(join(root, 'run/crio/crio.sock'), '');
    const expected = await listen(CONTAINERD);
    expect(criSocketOf(undefined, root)).toBe(expected);
  });

  test('takes the first of the setting that exists, seen from the host or from here', async () => {
    const expected = await listen('/run/second.sock');
    expect(criSocketOf('/run/first.sock, /run/second.sock', root)).toBe(expected);
    expect(criSocketOf(`/run/first.sock,${expected}`, join(root, 'elsewhere'))).toBe(expected);
  });

  test('answers the last one of the host while none exists', () => {
    expect(criSocketOf('/run/mine.sock,/run/other.sock', root)).toBe(join(root, '/run/other.sock'));
  });
});
