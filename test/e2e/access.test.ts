import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { APISERVER_URL } from '../../deploy/local/addresses.ts';
import { CLUSTER, NODES } from './cluster.ts';
import { PRODUCT_NAMESPACE, podsOf } from './daemon-sets.ts';
import type { Outcome } from './exec.ts';
import { ask } from './kube.ts';
import { kubectl, kubectlOk } from './kubectl.ts';
import { apiAvailable } from './nodes.ts';
import { FUSE, slavesOf, startPod } from './pods.ts';
import { expectNoPods, removeTargets } from './targets.ts';
import { until } from './until.ts';

const MOUNT = 'device_type=HOSTDEV';
let pod: string;
let token: string;

beforeAll(async () => {
  pod = await startPod(NODES[0]?.name ?? '');
  await kubectlOk(['create', 'serviceaccount', 'stranger']);
  token = (await kubectlOk(['create', 'token', 'stranger'])).trim();
});

afterAll(async () => {
  await removeTargets([pod]);
  await expectNoPods();
  await kubectlOk(['delete', 'serviceaccount', 'stranger']);
});

const path = (name: string): string =>
  `/apis/device-mounter.io/v1alpha1/namespaces/default/pods/${name}/mount?${MOUNT}`;
const body = JSON.stringify({ resources: { [FUSE]: '1' } });

describe('aggregation', () => {
  test('the APIService is Available', apiAvailable);

  test('kubectl api-resources knows the group', async () => {
    expect(await kubectlOk(['api-resources', '--api-group=device-mounter.io'])).toMatch(/devicemounts .*DeviceMount/);
  });
});

/** What kubectl needs to be somebody else. */
const as = (bearer: string): readonly string[] => [
  '--kubeconfig=/dev/null',
  `--server=${APISERVER_URL}`,
  `--certificate-authority=${join(CLUSTER.paths.pki, 'ca.crt')}`,
  `--token=${bearer}`,
];

describe('a user without update on pods/mount', () => {
  test('is refused in kubectl’s usual words', async () => {
    const refused = await kubectl([...as(token), 'replace', '--raw', path(pod), '-f', '-'], body);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(
      `pods.device-mounter.io "${pod}" is forbidden: User "system:serviceaccount:default:stranger" cannot update resource "pods/mount" in API group "device-mounter.io" in the namespace "default"`,
    );
    expect(await slavesOf(pod)).toEqual([]);
  });
});

const LEASES = `/apis/coordination.k8s.io/v1/namespaces/${PRODUCT_NAMESPACE}/leases`;

/** As its pod on that node gets it. */
async function tokenOf(node: string): Promise<string> {
  const [worker] = await podsOf('device-mounter-node', node);
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: worker?.metadata.name };
  const path = `/api/v1/namespaces/${PRODUCT_NAMESPACE}/serviceaccounts/device-mounter-node/token`;
  const { status } = await ask<{ readonly status: { readonly token: string } }>('POST', path, {
    spec: { boundObjectRef },
  });
  return status.token;
}

/** Writes what is there, as an update. kubectl asks for its version just before, and its node worker may write it in between. */
async function renewed(bearer: string, node: string): Promise<Outcome> {
  return until('a write between two of its node worker', async () => {
    const lease = await ask('GET', `${LEASES}/device-mounter-node-${node}`);
    const { resourceVersion: _, ...metadata } = (lease as { readonly metadata: Record<string, unknown> }).metadata;
    const body = JSON.stringify({ ...(lease as object), metadata });
    const outcome = await kubectl([...as(bearer), 'replace', '-f', '-'], body);
    return !outcome.stderr.includes('the object has been modified') && outcome;
  });
}

describe('a node worker', () => {
  test('writes the Lease of its own node, and no other', async () => {
    const [own = '', other = ''] = NODES.map(({ name }) => name);
    const bearer = await tokenOf(own);
    expect(await renewed(bearer, own)).toMatchObject({ code: 0 });
    const refused = 'a node worker of device-mounter writes only the Lease of its own node';
    expect(await renewed(bearer, other)).toMatchObject({ code: 1, stderr: expect.stringContaining(refused) });
    const another = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'another' } };
    const create = [...as(bearer), '--namespace', PRODUCT_NAMESPACE, 'create', '-f', '-'];
    expect(await kubectl(create, JSON.stringify(another))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(refused),
    });
  });
});
