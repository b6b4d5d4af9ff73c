import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadAllYaml } from '@kubernetes/client-node';
import { NODE_LABEL } from '../../contract/names.ts';
import type { Cluster } from './cluster.ts';
import { PAUSE_IMAGE } from './image/small.ts';
import { createAuthority, issue } from './pki/certificate.ts';
import { run } from './run.ts';
import { REPOSITORY } from './state.ts';

const NAMESPACE = 'device-mounter';
const SERVICE = `device-mounter-apiserver.${NAMESPACE}.svc`;
const MANIFESTS = ['device-mounter-apiserver.yaml', 'device-mounter-daemonset.yaml', 'hostdev-plugin-ds.yaml'];

/** Manifests name the image so; each is given the one that was built. */
const IMAGE_IN_MANIFESTS = 'device-mounter:latest';

/** What the manifests leave to whoever installs them. */
interface LocalValues {
  readonly image: string;
  readonly temporalAddress: string;
  /** PEM. */
  readonly servingAuthority: string;
}

/** Installs the product, or brings an installed one up to date, and waits until all of it is ready. */
export async function deployProduct(cluster: Cluster, image: string): Promise<void> {
  const files = ensureProductKeys(cluster);
  const values = { image, temporalAddress: cluster.temporalAddress, servingAuthority: files.servingAuthority };
  const objects = MANIFESTS.flatMap((name) => loadAllYaml(readFileSync(join(REPOSITORY, 'deploy', name), 'utf8')));
  const local = objects.map((object) => localized(object, values));
  await apply(cluster, [...local.filter(isNamespace), ...files.objects]);
  await apply(cluster, local);
  await labelNodes(cluster);
  await ready(cluster);
}

function localized(object: unknown, values: LocalValues): unknown {
  const text = JSON.stringify(object, (key, value: unknown) => {
    if (key === 'image' && value === IMAGE_IN_MANIFESTS) return values.image;
    if (key === 'caBundle') return Buffer.from(values.servingAuthority).toString('base64');
    if (key === 'env' && Array.isArray(value)) return value.map((variable) => localVariable(variable, values));
    return value;
  });
  return JSON.parse(text) as unknown;
}

function localVariable(variable: unknown, { temporalAddress }: LocalValues): unknown {
  const { name } = variable as { readonly name: string };
  if (name === 'TEMPORAL_ADDRESS') return { name, value: temporalAddress };
  if (name === 'SLAVE_IMAGE') return { name, value: PAUSE_IMAGE };
  return variable;
}

const isNamespace = (object: unknown): boolean => (object as { readonly kind: string }).kind === 'Namespace';

const named = (name: string): object => ({ apiVersion: 'v1', metadata: { name, namespace: NAMESPACE } });

interface ProductKeys {
  readonly servingAuthority: string;
  readonly objects: readonly unknown[];
}

/** The certificate of the apiserver's port and the pair that signs requests; made once in the life of a cluster. */
function ensureProductKeys({ paths }: Cluster): ProductKeys {
  const file = join(paths.pki, 'product.json');
  if (!existsSync(file)) {
    const authority = createAuthority('device-mounter-serving-ca');
    const serving = issue(authority, {
      commonName: SERVICE,
      usage: 'server',
      names: [SERVICE, `${SERVICE}.cluster.local`],
    });
    const signing = generateKeyPairSync('ed25519', {
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    writeFileSync(file, JSON.stringify({ authority: authority.certificate, serving, signing }), { mode: 0o600 });
  }
  const { authority, serving, signing } = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly authority: string;
    readonly serving: { readonly certificate: string; readonly key: string };
    readonly signing: { readonly publicKey: string; readonly privateKey: string };
  };
  return {
    servingAuthority: authority,
    objects: [
      {
        ...named('device-mounter-apiserver-tls'),
        kind: 'Secret',
        type: 'kubernetes.io/tls',
        stringData: { 'tls.crt': serving.certificate, 'tls.key': serving.key },
      },
      { ...named('device-mounter-signing'), kind: 'Secret', stringData: { 'private.pem': signing.privateKey } },
      { ...named('device-mounter-signing-public'), kind: 'ConfigMap', data: { 'public.pem': signing.publicKey } },
    ],
  };
}

const kubectl = (cluster: Cluster, ...args: string[]): Promise<string> =>
  run(cluster.kubectl, ['--kubeconfig', cluster.kubeconfig, ...args]);

async function apply(cluster: Cluster, objects: readonly unknown[]): Promise<void> {
  const file = join(cluster.paths.config, 'product.json');
  writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }), { mode: 0o600 });
  await kubectl(cluster, 'apply', '--server-side', '--force-conflicts', '-f', file);
}

async function labelNodes(cluster: Cluster): Promise<void> {
  const names = cluster.nodes.map(({ name }) => name);
  await kubectl(cluster, 'label', 'nodes', ...names, `${NODE_LABEL.key}=${NODE_LABEL.value}`, '--overwrite');
}

async function ready(cluster: Cluster): Promise<void> {
  const rollout = (what: string): Promise<string> =>
    kubectl(cluster, 'rollout', 'status', what, `--namespace=${NAMESPACE}`, '--timeout=120s');
  await Promise.all([
    rollout('deployment/device-mounter-apiserver'),
    rollout('deployment/device-mounter-control'),
    rollout('daemonset/device-mounter-node'),
    rollout('daemonset/hostdev-device-plugin'),
    kubectl(cluster, 'wait', '--for=condition=Available', 'apiservice/v1alpha1.device-mounter.io', '--timeout=120s'),
    ...cluster.nodes.map(({ name }) =>
      kubectl(
        cluster,
        'wait',
        `node/${name}`,
        "--for=jsonpath={.status.allocatable['hostdev\\.k8s\\.io/dev_fuse']}=1",
        '--timeout=120s',
      ),
    ),
  ]);
}
