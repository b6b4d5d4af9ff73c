import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { REPOSITORY } from '../../../deploy/local/state.ts';
import { CLUSTER, NODES, restartTemporal } from '../cluster.ts';
import { PRODUCT_NAMESPACE, place, podsOf, rolledOut } from '../daemon-sets.ts';
import { ask, find, remove } from '../kube.ts';
import { kubectl, kubectlOk } from '../kubectl.ts';
import { apiAvailable } from '../nodes.ts';
import { createPod, FUSE } from '../pods.ts';
import { until } from '../until.ts';
import { ROOT } from './direct.ts';

const API_SERVICE = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.device-mounter.io';
const GUIDE = join(REPOSITORY, 'docs', 'guides', 'blocked-namespaces.md');

interface Namespace {
  readonly status: { readonly conditions?: readonly { type: string; status: string; reason: string }[] };
}

const pathOf = (namespace: string): string => `/api/v1/namespaces/${namespace}`;

async function createNamespace(name: string): Promise<void> {
  await ask('POST', '/api/v1/namespaces', { metadata: { name } });
}

const deleteNamespace = (name: string): Promise<void> => remove(pathOf(name));

const namespaceGone = (name: string, timeoutMs: number) =>
  until(`namespace ${name} to be gone`, async () => (await find(pathOf(name))) === undefined, timeoutMs);

async function scale(deployment: string, replicas: number): Promise<void> {
  const path = `/apis/apps/v1/namespaces/${PRODUCT_NAMESPACE}/deployments/${deployment}`;
  await ask('PATCH', `${path}/scale`, { spec: { replicas } });
  if (replicas > 0) await rolledOut('deployments', deployment);
  else await until(`${deployment} to be gone`, async () => (await podsOf(deployment)).length === 0, 110_000);
}

/** A pod with a mounted device in a namespace. */
async function mountIn(namespace: string): Promise<void> {
  const name = 'target';
  await until(
    'its service account',
    async () => (await find(`${pathOf(namespace)}/serviceaccounts/default`)) !== undefined,
  );
  await createPod(name, { nodeName: NODES[0]?.name }, namespace);
  const path = `${ROOT}/namespaces/${namespace}/pods/${name}/mount?device_type=HOSTDEV&wait_second=30`;
  await ask('PUT', path, { resources: { [FUSE]: '1' } });
}

const placeNodeWorkers = (where: 'away' | 'here'): Promise<unknown> =>
  Promise.all(NODES.map(({ name }) => place('device-mounter-node', name, where)));

describe('with Temporal, the control worker and every node worker down', () => {
  beforeAll(async () => {
    await createNamespace('contract-mounted');
    await mountIn('contract-mounted');
    await CLUSTER.servers.temporal.stop('SIGKILL');
    await Promise.all([scale('device-mounter-control', 0), placeNodeWorkers('away')]);
  });

  afterAll(async () => {
    await restartTemporal();
    await Promise.all([scale('device-mounter-control', 2), placeNodeWorkers('here')]);
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
    await apiAvailable();
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
  const namespace = await find<Namespace>(pathOf(name));
  if (namespace === undefined) return 'gone';
  const isBlocked = namespace.status.conditions?.some(
    ({ type, status }) => type === 'NamespaceDeletionDiscoveryFailure' && status === 'True',
  );
  return isBlocked ? 'blocked' : undefined;
}

describe('with the apiserver itself gone', () => {
  let apiService: object;
  beforeAll(async () => {
    apiService = (await find<object>(API_SERVICE)) ?? {};
    await scale('device-mounter-apiserver', 0);
  });

  afterAll(async () => {
    const { metadata, ...rest } = apiService as { metadata: { name: string }; status?: unknown };
    const again = { ...rest, metadata: { name: metadata.name } };
    await kubectlOk(['apply', '--server-side', '--force-conflicts', '-f', '-'], JSON.stringify(again));
    await scale('device-mounter-apiserver', 2);
    await apiAvailable();
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
