import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, jest, test } from '@jest/globals';
import { loadAll } from 'js-yaml';
import { type KubeObject, manifestFaults } from '../test/unit/manifest-faults.ts';
import { CHART, ensureHelm, type Helm } from './helm.ts';
import { CLUSTER_NAME } from './local/addresses.ts';
import { LOCAL_DEVS } from './local/devs.ts';
import { PAUSE_IMAGE } from './local/image/small.ts';
import { PLACED, placementLabel } from './local/placement.ts';
import { localObjects } from './local/product.ts';
import { MANIFESTS, rendered } from './render.ts';

// Helm may have to be built first.
jest.setTimeout(900_000);

const DIGEST = `sha256:${'0'.repeat(64)}`;
const SECRET = {
  name: 'temporal',
  ca: 'ca.crt',
  clientCertificate: 'tls.crt',
  clientKey: 'tls.key',
  apiKey: 'key',
  payloadKeys: 'keys',
};

const EVERYWHERE = {
  nodeSelector: { zone: 'a' },
  tolerations: [{ key: 'gpu', operator: 'Exists' }],
  affinity: { podAffinity: {} },
};

/** Values that together reach every branch of the templates. */
const VALUES: Readonly<Record<string, object>> = {
  defaults: {},
  'certificates of cert-manager': { certificates: { mode: 'certManager' } },
  'an issuer of their own': {
    certificates: { mode: 'certManager', certManager: { issuerRef: { kind: 'ClusterIssuer', name: 'ca' } } },
  },
  'existing certificates': { certificates: { mode: 'existing' }, apiService: { register: false } },
  'a Temporal of their own': {
    temporal: {
      embedded: false,
      address: 'temporal.example:7233',
      tls: 'true',
      tlsServerName: 'temporal',
      secret: SECRET,
    },
  },
  'a claim for Temporal': {
    temporal: { namespace: 'mounts', server: { persistence: { enabled: true, storageClass: 'fast' } } },
  },
  'images by digest': { image: { digest: DIGEST }, imagePullSecrets: [{ name: 'registry' }] },
  MicroK8s: {
    nodeWorker: {
      runtimeDir: '/var/snap/microk8s/common/run',
      kubeletDir: '/var/snap/microk8s/common/var/lib/kubelet',
    },
  },
  'sockets and drivers': { nodeWorker: { criSocket: '/run/a.sock,/run/b.sock', driverRoot: '/opt/driver' } },
  'host devices': { hostDevicePlugin: { enabled: true } },
  slaves: { slave: { image: 'own:1', pullSecrets: ['a', 'b'], requests: 'cpu=1m', limits: 'memory=8Mi' } },
  'IPv6 only': { listenAddress: '::' },
  nothing: {
    podDisruptionBudgets: { enabled: false },
    resourceQuota: { enabled: false },
    networkPolicies: { enabled: false },
    crd: { install: false },
    affinity: null,
  },
  'no metrics': { networkPolicies: { metricsFrom: [] }, apiserver: { replicas: 1 }, crd: { keep: true } },
  'tokens for metrics': { apiserver: { tokenAudience: 'device-mounter' } },
  placement: {
    namespace: { create: true },
    apiserver: EVERYWHERE,
    control: EVERYWHERE,
    nodeWorker: EVERYWHERE,
    hostDevicePlugin: { ...EVERYWHERE, enabled: true },
    temporal: { server: EVERYWHERE },
  },
};

let helm: Helm;
beforeAll(async () => {
  helm = await ensureHelm();
});

async function withValues(values: object, use: (file: string) => Promise<string>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'values-'));
  try {
    writeFileSync(join(folder, 'values.json'), JSON.stringify(values));
    return await use(join(folder, 'values.json'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const templated = async (values: object, version = '1.31.0', namespace = 'dm'): Promise<readonly KubeObject[]> =>
  loadAll(
    await withValues(values, (file) =>
      helm('template', 'dm', CHART, '--namespace', namespace, '--kube-version', version, '--values', file),
    ),
  ) as KubeObject[];

/** The values by which the chart gives what the local cluster runs, and with it the end-to-end tests. */
const LOCAL_VALUES = {
  namespace: { create: true },
  image: { repository: 'localhost/device-mounter', tag: '0123456789ab' },
  clusterName: CLUSTER_NAME,
  temporal: { embedded: false, address: 'temporal.example:7233' },
  control: { reconcileSeconds: 5 },
  slave: { image: PAUSE_IMAGE, graceSeconds: 15 },
  nodeWorker: { nodeSelector: { 'device-mounter-enable': 'enable', [placementLabel('device-mounter-node')]: PLACED } },
  hostDevicePlugin: {
    enabled: true,
    namespace: 'kube-system',
    devs: LOCAL_DEVS,
    nodeSelector: { [placementLabel('hostdev-device-plugin')]: PLACED },
  },
};

/** By kind, namespace and name, since Helm has an order of its own. */
const named = (objects: readonly object[]): object =>
  Object.fromEntries(
    (objects as readonly KubeObject[]).map((object) => [
      `${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name}`,
      object,
    ]),
  );

const podOf = (objects: readonly KubeObject[], name: string) =>
  objects.find((object) => object.metadata.name === name && object.spec?.template !== undefined)?.spec?.template?.spec;

test.each(MANIFESTS.map((manifest) => [manifest.name, manifest] as const))(
  '%s is what the chart renders',
  async (name, manifest) => {
    expect(readFileSync(join(import.meta.dirname, name), 'utf8')).toBe(await rendered(helm, manifest));
  },
);

test('the local cluster runs what the chart gives', async () => {
  const { image, temporal } = LOCAL_VALUES;
  const local = localObjects({ image: `${image.repository}:${image.tag}`, temporalAddress: temporal.address });
  expect(named(local)).toEqual(named(await templated(LOCAL_VALUES, '1.31.0', 'device-mounter')));
});

describe.each(Object.entries(VALUES))('with %s', (_name, values) => {
  test('Helm has nothing to say', async () => {
    const said = await withValues(values, (file) => helm('lint', '--strict', CHART, '--values', file));
    expect(said).toContain('0 chart(s) failed');
  });

  test('the objects have no faults', async () => {
    const objects = await templated(values);
    expect(manifestFaults(objects)).toEqual([]);
    const outside = objects.filter(({ metadata }) => !['dm', 'kube-system', undefined].includes(metadata.namespace));
    // Events of nodes are in the namespace default.
    expect(outside.filter(({ metadata }) => metadata.name !== 'hostdev-device-plugin')).toEqual([]);
  });
});

test.each([
  { certificates: { mode: 'other' } },
  { apiserver: { replicas: 0 } },
  { image: { digest: 'sha256:1' } },
  { nodeworker: {} },
  { temporal: { embedded: false } },
  { nodeWorker: { runtimeDir: '/run/' } },
])('%j is refused', async (values) => {
  await expect(templated(values)).rejects.toThrow(/values don't meet|must be set/);
});

/** What the control worker may do in its namespace. */
async function rules(mode: string): Promise<string> {
  const objects = await templated({ certificates: { mode }, apiService: { register: false } });
  return JSON.stringify(
    objects.find(({ kind, metadata }) => kind === 'Role' && metadata.name === 'device-mounter:control'),
  );
}

const slaveImage = async (values: object, version: string) =>
  podOf(await templated(values, version), 'device-mounter-control')?.containers[0]?.env?.find(
    ({ name }) => name === 'SLAVE_IMAGE',
  )?.value;

const kinds = async (version: string): Promise<string> => JSON.stringify(await templated({}, version));

describe('the chart', () => {
  test('gives every process what it needs of a Temporal of their own', async () => {
    const objects = await templated(VALUES['a Temporal of their own'] ?? {});
    expect(objects.filter(({ metadata }) => metadata.name === 'device-mounter-temporal')).toEqual([]);
    for (const name of ['device-mounter-apiserver', 'device-mounter-control', 'device-mounter-node']) {
      const env = podOf(objects, name)?.containers[0]?.env?.map((variable) => `${variable.name}=${variable.value}`);
      expect(env).toEqual(
        expect.arrayContaining([
          'TEMPORAL_ADDRESS=temporal.example:7233',
          'TEMPORAL_TLS=true',
          'TEMPORAL_TLS_SERVER_NAME=temporal',
          'TEMPORAL_TLS_SERVER_CA_CERT_PATH=/etc/device-mounter/temporal/ca.crt',
          'TEMPORAL_TLS_CLIENT_CERT_PATH=/etc/device-mounter/temporal/tls.crt',
          'TEMPORAL_TLS_CLIENT_KEY_PATH=/etc/device-mounter/temporal/tls.key',
          'TEMPORAL_API_KEY_FILE=/etc/device-mounter/temporal/key',
          'TEMPORAL_PAYLOAD_KEYS=/etc/device-mounter/temporal/keys',
        ]),
      );
    }
  });

  test('lets the control worker make only what nobody else makes', async () => {
    expect(await rules('self')).toContain('device-mounter-ca');
    expect(await rules('certManager')).not.toContain('apiserver-tls');
    expect(await rules('existing')).not.toContain('secrets');
  });

  test('leaves out what an older Kubernetes does not have', async () => {
    expect(await kinds('1.31.0')).toContain('selectableFields');
    expect(await kinds('1.30.5-gke.100')).not.toContain('selectableFields');
    expect(await kinds('1.30.5-gke.100')).toContain('ValidatingAdmissionPolicy');
    expect(await kinds('1.29.0')).not.toContain('ValidatingAdmissionPolicy');
  });

  test('gives slaves an image with a shell where they have to ignore SIGTERM, unless another is named', async () => {
    expect(await slaveImage({}, '1.30.0')).toBe('registry.k8s.io/pause:3.10');
    expect(await slaveImage({}, '1.29.9')).toMatch(/^device-mounter:/);
    expect(await slaveImage({ slave: { image: 'own:1' } }, '1.29.9')).toBe('own:1');
  });
});
