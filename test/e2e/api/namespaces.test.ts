import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { REPOSITORY } from '../../../deploy/local/state.ts';
import { CLUSTER, NODES, restartTemporal } from '../cluster.ts';
import { place } from '../daemon-sets.ts';
import { getJson, kubectl, kubectlOk } from '../kubectl.ts';
import { FUSE } from '../pods.ts';
import { until } from '../until.ts';
import { ROOT } from './direct.ts';

const PRODUCT = '--namespace=device-mounter';
const GUIDE = join(REPOSITORY, 'docs', 'guides', 'blocked-namespaces.md');

interface Namespace {
  readonly status: { readonly conditions?: readonly { type: string; status: string; reason: string }[] };
}

async function createNamespace(name: string): Promise<void> {
  await kubectlOk(['create', 'namespace', name]);
}

async function deleteNamespace(name: string): Promise<void> {
  await kubectlOk(['delete', 'namespace', name, '--wait=false']);
}

const namespaceGone = (name: string, timeoutMs: number) =>
  until(`namespace ${name} to be gone`, async () => (await getJson(['namespace', name])) === undefined, timeoutMs);

async function scale(deployment: string, replicas: number): Promise<void> {
  await kubectlOk(['scale', PRODUCT, `deployment/${deployment}`, `--replicas=${replicas}`]);
  const podsOf = ['pods', PRODUCT, '-l', `app.kubernetes.io/name=${deployment}`];
  await until(
    `${deployment} to have ${replicas} replicas`,
    async () => {
      const pods = await getJson<{ items: { status: { conditions?: { type: string; status: string }[] } }[] }>(podsOf);
      const ready = pods?.items.filter(({ status }) =>
        status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
      );
      return pods?.items.length === replicas && ready?.length === replicas;
    },
    110_000,
  );
}

/** A pod with a mounted device in a namespace. */
async function mountIn(namespace: string): Promise<void> {
  const name = 'target';
  const container = {
    name: 'main',
    image: 'localhost/busybox:1',
    imagePullPolicy: 'Never',
    command: ['sleep', '100000'],
  };
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: { nodeName: NODES[0]?.name, terminationGracePeriodSeconds: 0, containers: [container] },
  };
  await kubectlOk(['create', '-f', '-'], JSON.stringify(pod));
  await kubectlOk(['wait', `--namespace=${namespace}`, '--for=condition=Ready', `pod/${name}`, '--timeout=60s']);
  const path = `${ROOT}/namespaces/${namespace}/pods/${name}/mount?device_type=HOSTDEV&wait_second=30`;
  await kubectlOk(['replace', '--raw', path, '-f', '-'], JSON.stringify({ resources: { [FUSE]: '1' } }));
}

describe('with Temporal, the control worker and every node worker down', () => {
  beforeAll(async () => {
    await createNamespace('contract-mounted');
    await mountIn('contract-mounted');
    await CLUSTER.servers.temporal.stop('SIGKILL');
    await Promise.all([scale('device-mounter-control', 0), place('device-mounter-node', 'nowhere')]);
  });

  afterAll(async () => {
    await restartTemporal();
    await Promise.all([scale('device-mounter-control', 2), place('device-mounter-node', 'everywhere')]);
  });

  test('a namespace is deleted in seconds', async () => {
    await createNamespace('contract-empty');
    await deleteNamespace('contract-empty');
    await namespaceGone('contract-empty', 20_000);
  });

  test('one with mounted devices is deleted once its pods have ended', async () => {
    await deleteNamespace('contract-mounted');
    await namespaceGone('contract-mounted', 60_000);
  });

  test('the API is Available, and what needs Temporal says so', async () => {
    await kubectlOk(['wait', 'apiservice/v1alpha1.device-mounter.io', '--for=condition=Available', '--timeout=1s']);
    const listed = await kubectl(['get', 'devicemounts.device-mounter.io']);
    expect([listed.code, listed.stderr]).toEqual([1, expect.stringMatching(/Cannot reach Temporal/)]);
  });
});

/** The commands of a guide between this heading and the next, one after the other. */
function commandsUnder(heading: string): string[][] {
  const [, section = ''] = readFileSync(GUIDE, 'utf8').split(`## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  const blocks = [...own.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block);
  const lines = blocks.join('').trim().split('\n');
  return lines.map((line) => line.split(' ')).filter(([command]) => command === 'kubectl');
}

/**
 * Deletes namespaces until one is blocked, and answers its name: until kube-apiserver has noticed that the group is gone, it
 * answers for it from its memory, and they are deleted as always.
 */
async function blockedNamespace(): Promise<string> {
  for (let index = 0; ; index++) {
    const name = `contract-blocked-${index}`;
    await createNamespace(name);
    await deleteNamespace(name);
    const became = await until(`namespace ${name} to be gone, or blocked`, () => endOf(name), 70_000);
    if (became === 'blocked') return name;
  }
}

async function endOf(name: string): Promise<'gone' | 'blocked' | undefined> {
  const namespace = await getJson<Namespace>(['namespace', name]);
  if (namespace === undefined) return 'gone';
  const isBlocked = namespace.status.conditions?.some(
    ({ type, status }) => type === 'NamespaceDeletionDiscoveryFailure' && status === 'True',
  );
  return isBlocked ? 'blocked' : undefined;
}

describe('with the apiserver itself gone', () => {
  let apiService: object;
  beforeAll(async () => {
    apiService = (await getJson<object>(['apiservice', 'v1alpha1.device-mounter.io'])) ?? {};
    await scale('device-mounter-apiserver', 0);
  });

  afterAll(async () => {
    const { metadata, ...rest } = apiService as { metadata: { name: string }; status?: unknown };
    const again = { ...rest, metadata: { name: metadata.name } };
    await kubectlOk(['apply', '--server-side', '--force-conflicts', '-f', '-'], JSON.stringify(again));
    await scale('device-mounter-apiserver', 2);
    await kubectlOk(['wait', 'apiservice/v1alpha1.device-mounter.io', '--for=condition=Available', '--timeout=60s']);
  });

  test('Kubernetes blocks it, says so, and the way out of the guide works', async () => {
    const namespace = await blockedNamespace();
    const seen = commandsUnder('See it');
    expect(seen.length).toBeGreaterThan(0);
    for (const [, ...args] of seen) await kubectlOk(args.map((arg) => arg.replace('<namespace>', namespace)));
    const wayOut = commandsUnder('The way out');
    expect(wayOut).toHaveLength(1);
    for (const [, ...args] of wayOut) await kubectlOk(args);
    // Kubernetes tries again after a growing pause, at most a minute long.
    await namespaceGone(namespace, 90_000);
  }, 300_000);
});
