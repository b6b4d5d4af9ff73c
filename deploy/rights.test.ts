import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { loadAllYaml, type V1ClusterRole, type V1ClusterRoleBinding, type V1Secret } from '@kubernetes/client-node';
import { type Attributes, MemoryKube } from '../test/install/memory-kube.ts';
import { eventually } from '../test/workflows/outcome.ts';
import { type InstallObjects, installObjects } from '../workflows/install/kubernetes.ts';
import { ApiRegistrar } from '../workflows/install/registrar.ts';
import { keepServingCertificate } from '../workflows/install/serving-certificate.ts';
import { keepSigningKeys } from '../workflows/install/signing-keys.ts';

const OBJECTS = loadAllYaml(readFileSync(join(import.meta.dirname, 'device-mounter-apiserver.yaml'), 'utf8'));
const ACCOUNT = 'device-mounter-control';
const OWNER = 'device-mounter:installation';
const NAMESPACE = '/api/v1/namespaces/device-mounter';
const DAY_MS = 24 * 3_600_000;
/** Longer than this machine ever stands still. */
const NEVER_MS = 600_000;

/** A single right: one verb on one name, or on all. */
interface Right extends Attributes {
  readonly all: boolean;
}

/** What RBAC grants the control worker in and around its namespace, of the resources that only its installation is about. */
function rights(): readonly Right[] {
  const bindings = (OBJECTS as V1ClusterRoleBinding[]).filter(({ subjects }) =>
    subjects?.some(({ name }) => name === ACCOUNT),
  );
  return bindings.flatMap(({ roleRef, metadata }) => {
    const role = (OBJECTS as V1ClusterRole[]).find(
      ({ kind, metadata: own }) => kind === roleRef.kind && own?.name === roleRef.name,
    );
    return (role?.rules ?? []).flatMap((rule) => rightsOf(rule, metadata?.namespace));
  });
}

function rightsOf(rule: NonNullable<V1ClusterRole['rules']>[number], namespace: string | undefined): Right[] {
  const { apiGroups = [], resources = [], resourceNames, verbs } = rule;
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) =>
      verbs.flatMap((verb) =>
        (resourceNames ?? [undefined]).map((name) => ({
          group,
          resource,
          verb,
          name,
          namespace,
          all: name === undefined,
        })),
      ),
    ),
  );
}

/** As the RBAC authorizer does it; a name is not known when an object is created. */
function allows(right: Right, asked: Attributes): boolean {
  const { verb, group, resource, namespace } = asked;
  if (right.verb !== verb || right.group !== group || right.resource !== resource) return false;
  if (right.namespace !== undefined && right.namespace !== namespace) return false;
  return right.all || (verb !== 'create' && right.name === asked.name);
}

const RESOURCES = ['secrets', 'configmaps', 'services', 'endpointslices', 'apiservices', 'clusterroles', 'namespaces'];
const RIGHTS = rights().filter(({ resource, name }) => RESOURCES.includes(resource) && name !== 'kube-system');

const say = ({ verb, resource, name = '*' }: Right): string => `${verb} ${resource} ${name}`;

let kube: MemoryKube;
let objects: InstallObjects;
let used: Set<Right>;
let server: Server | undefined;
let registrar: ApiRegistrar | undefined;
beforeEach(async () => {
  used = new Set();
  kube = await new MemoryKube().start();
  kube.mayDo = (asked) => {
    const right = RIGHTS.find((one) => allows(one, asked));
    if (right !== undefined) used.add(right);
    return right !== undefined;
  };
  objects = installObjects(kube.config(), 'device-mounter', NEVER_MS);
});
afterEach(() => {
  registrar?.stop();
  server?.close();
  kube.stop();
});

async function keepAll(nowMs: number): Promise<void> {
  while (!(await keepServingCertificate(objects, nowMs)));
  while ((await keepSigningKeys(objects, nowMs)) === undefined);
}

/** The apiserver, with what is in its Secret. */
async function startApiserver(): Promise<void> {
  const { data = {} } = kube.get(`${NAMESPACE}/secrets/device-mounter-apiserver-tls`) as V1Secret;
  const [cert, key] = ['tls.crt', 'tls.key'].map((name) => Buffer.from(data[name] ?? '', 'base64'));
  server = createServer({ cert, key }, (_req, res) => void res.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  kube.put(`${NAMESPACE}/services/device-mounter-apiserver`, { spec: { clusterIP: '127.0.0.1', ports: [{ port }] } });
  kube.put('/apis/discovery.k8s.io/v1/namespaces/device-mounter/endpointslices/one', {
    metadata: { labels: { 'kubernetes.io/service-name': 'device-mounter-apiserver' } },
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
  });
}

describe('the rights of the control worker in device-mounter-apiserver.yaml', () => {
  test('suffice to keep it installed, and none of them is unused', async () => {
    kube.put(NAMESPACE, {});
    kube.put(`/apis/rbac.authorization.k8s.io/v1/clusterroles/${OWNER}`, {});
    await keepAll(Date.now());
    await startApiserver();
    const told: string[] = [];
    const log = { info: () => undefined, warn: (_more: object, message: string) => void told.push(message) };
    const more = { owner: OWNER, injectFrom: undefined, nowMs: Date.now, periodMs: 20, answerMs: NEVER_MS, log };
    registrar = new ApiRegistrar({ objects, ...more });
    const running = registrar.run();
    const api = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.device-mounter.io';
    await eventually(() => kube.get(api));
    kube.put(api, { spec: { ...(kube.get(api) as { spec: object }).spec, versionPriority: 1 } });
    await eventually(() => kube.writes.some((write) => write.startsWith('PUT /apis/apiregistration')));
    kube.put(NAMESPACE, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
    await eventually(() => kube.get(api) === undefined);
    registrar.stop();
    await running;
    expect(told.filter((sentence) => sentence.startsWith('cannot'))).toEqual([]);
    // Each key is replaced once.
    for (const days of [3_000, 3_001, 3_002]) await keepAll(Date.now() + days * DAY_MS);
    expect(RIGHTS.filter((right) => !used.has(right)).map(say)).toEqual([]);
  });
});
