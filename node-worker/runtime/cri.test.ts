import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { loadService } from '../../proto/services.ts';
import { type Containers, criContainers } from './cri.ts';

/** Longer than this machine ever stands still. */
const NEVER_MS = 600_000;

interface Container {
  readonly id: string;
  readonly podSandboxId: string;
  readonly state: string;
  readonly createdAt: string;
  readonly labels: Record<string, string>;
}

const container = (id: string, podUid: string, name: string, createdAt = '1'): Container => ({
  id,
  podSandboxId: `${podUid}-sandbox`,
  state: 'CONTAINER_RUNNING',
  createdAt,
  labels: { 'io.kubernetes.pod.uid': podUid, 'io.kubernetes.container.name': name },
});

let folder: string;
let server: Server;
let client: Client;
let containers: Containers;
let all: Container[];
/** Ids of containers that end between two calls. */
let ending: Set<string>;

/** A runtime that serves its API as containerd does, with containers in memory. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cri-'));
  all = [];
  ending = new Set();
  server = new Server();
  server.addService(loadService('RuntimeService'), {
    ListContainers: (
      { request }: { request: { filter: { labelSelector: Record<string, string> } } },
      answer: Answer,
    ) => {
      const wanted = Object.entries(request.filter.labelSelector);
      answer(null, { containers: all.filter(({ labels }) => wanted.every(([key, value]) => labels[key] === value)) });
    },
    ContainerStatus: ({ request: { containerId } }: { request: { containerId: string } }, answer: Answer) => {
      const info = { info: JSON.stringify({ pid: 7, runtimeType: 'io.containerd.runc.v2' }) };
      if (ending.has(containerId)) answer({ code: status.NOT_FOUND });
      else answer(null, { status: { state: 'CONTAINER_RUNNING' }, info });
    },
    PodSandboxStatus: (_call: unknown, answer: Answer) => answer(null, { status: { runtimeHandler: 'nvidia' } }),
  });
  const address = `unix:${join(folder, 'cri.sock')}`;
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (err) => (err ? reject(err) : resolve()));
  });
  client = new Client(address, credentials.createInsecure());
  containers = criContainers(client, NEVER_MS);
});
afterEach(() => {
  client.close();
  server.forceShutdown();
  rmSync(folder, { recursive: true });
});

type Answer = (err: object | null, value?: object) => void;

describe('criContainers()', () => {
  test('finds the newest running container of a name in a pod', async () => {
    all = [container('old', 'p1', 'main', '9'), container('new', 'p1', 'main', '10'), container('x', 'p2', 'main')];
    const found = { id: 'new', pid: 7, runtimeHandler: 'nvidia', runtimeType: 'io.containerd.runc.v2' };
    expect(await containers.running('p1', 'main')).toEqual(found);
    expect(await containers.running('p1', 'other')).toBeUndefined();
    expect((await containers.allRunning('p1')).map(({ id }) => id)).toEqual(['old', 'new']);
  });

  test('finds every container of the kubelet with its place, and leaves out what ends meanwhile', async () => {
    all = [container('a', 'p1', 'main'), container('b', 'p2', 'side'), { ...container('c', '', ''), labels: {} }];
    ending.add('b');
    expect(await containers.everyRunning()).toMatchObject([{ id: 'a', pid: 7, podUid: 'p1', name: 'main' }]);
    expect(await containers.running('p2', 'side')).toBeUndefined();
  });

  test('says so when the runtime does not answer', async () => {
    server.forceShutdown();
    await expect(containers.everyRunning()).rejects.toMatchObject({ type: 'KubeletUnavailable' });
    await expect(containers.running('p', 'c')).rejects.toMatchObject({ type: 'KubeletUnavailable' });
  });
});
