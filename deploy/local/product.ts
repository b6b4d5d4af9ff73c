import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadAll } from 'js-yaml';
import { NODE_LABEL } from '../../contract/names.ts';
import { CLUSTER_NAME } from './addresses.ts';
import type { Cluster } from './cluster.ts';
import { LOCAL_DEVS, LOCAL_RESOURCES } from './devs.ts';
import { endHostProduct, hostEndpoints, startHostProduct } from './host-product.ts';
import { PAUSE_IMAGE } from './image/small.ts';
import { DAEMON_SETS, type DaemonSetName, PLACED, placementLabel } from './placement.ts';
import { ensureProductKeys, PRODUCT_NAMESPACE, productApiService, productKeysFolder } from './product-keys.ts';
import { run } from './run.ts';
import { REPOSITORY } from './state.ts';

/** Applied first: only what kube-apiserver serves already can be written. */
const CRD_MANIFEST = 'device-mounter-crd.yaml';
const MANIFESTS = ['device-mounter-apiserver.yaml', 'device-mounter-daemonset.yaml', 'hostdev-plugin-ds.yaml'];

/** Manifests name the image so, with their version; each is given the one that was built. */
const IMAGE_IN_MANIFESTS = 'device-mounter:';

/** The manifests' own Temporal; the local cluster has one already. */
const TEMPORAL_IN_MANIFESTS = 'device-mounter-temporal';

/**
 * What is only for a product that runs in pods. The binding puts the policy into force that nobody but the control worker's service account
 * writes DeviceMounts; on this machine the control worker is the cluster's admin.
 */
const FOR_PODS = ['Deployment', 'DaemonSet', 'PodDisruptionBudget', 'ValidatingAdmissionPolicyBinding'];

/** What the manifests leave to whoever installs them. */
interface LocalValues {
  readonly image: string;
  readonly temporalAddress: string;
}

export interface KubeObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: object;
}

/** Answers the objects of a file in `deploy/`. */
type ReadManifest = (name: string) => readonly unknown[];

/** Installs the product, or brings an installed one up to date, and waits until all of it is ready. */
export async function deployProduct(cluster: Cluster, image: string, read: ReadManifest = manifest): Promise<void> {
  await endHostProduct(cluster);
  const objects = await installCommon(cluster, image, read);
  await apply(cluster, objects);
  await labelNodes(cluster);
  await Promise.all([
    ...objects
      .filter(({ kind }) => kind === 'Deployment' || kind === 'DaemonSet')
      .map((object) => rollout(cluster, object)),
    available(cluster),
  ]);
  await ensureProductKeys(cluster);
}

/** The same with the product as processes of this machine: its code is that of the checkout, its logs are with the servers'. */
export async function runProductOnHost(cluster: Cluster): Promise<void> {
  await endHostProduct(cluster);
  const objects = await installCommon(cluster, IMAGE_IN_MANIFESTS);
  for (const { kind, metadata } of objects.filter(isForPods))
    await kubectl(cluster, 'delete', kind, metadata.name, ...inNamespace(metadata), '--ignore-not-found');
  const rest = objects.filter((object) => !isForPods(object));
  await apply(cluster, [...rest.map(withoutSelector), hostEndpoints()]);
  await ensureProductKeys(cluster);
  await apply(cluster, [await productApiService(cluster)]);
  // Nobody takes away the endpoints that pods gave to a Service that has lost its selector.
  const ofPods = 'endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io';
  await kubectl(cluster, 'delete', 'endpointslice', `--namespace=${PRODUCT_NAMESPACE}`, `--selector=${ofPods}`);
  await labelNodes(cluster);
  startHostProduct(cluster, productKeysFolder(cluster));
  await available(cluster);
}

/** Applies what must be there before anything runs; answers all objects of the other manifests with local values. */
async function installCommon(
  cluster: Cluster,
  image: string,
  read: ReadManifest = manifest,
): Promise<readonly KubeObject[]> {
  const objects = localObjects({ image, temporalAddress: cluster.temporalAddress }, read);
  const namespaces = objects.filter(({ kind }) => kind === 'Namespace');
  await apply(cluster, [...read(CRD_MANIFEST), ...namespaces]);
  await wait(cluster, 'crd/devicemounts.device-mounter.io', 'condition=Established');
  return objects;
}

const manifest = (name: string): unknown[] => loadAll(readFileSync(join(REPOSITORY, 'deploy', name), 'utf8'));

/**
 * What the local cluster runs: the manifests with other values. It is what the chart gives with these values, and the labels by which tests
 * place DaemonSets: deploy/chart.long.test.ts proves that. So no start needs Helm.
 */
export function localObjects(values: LocalValues, read: ReadManifest = manifest): readonly KubeObject[] {
  const all = MANIFESTS.flatMap((name) => read(name)).map((object) => localized(object, values));
  return all.filter(({ metadata }) => metadata.name !== TEMPORAL_IN_MANIFESTS);
}

function localized(object: unknown, values: LocalValues): KubeObject {
  const text = JSON.stringify(object, (key, value: unknown) => {
    if (key === 'image' && String(value).startsWith(IMAGE_IN_MANIFESTS)) return values.image;
    if (key === 'args' && Array.isArray(value))
      return value.map((word, at) => (value[at - 1] === '--devs' ? LOCAL_DEVS : word));
    if (key === 'env' && Array.isArray(value)) return value.map((variable) => localVariable(variable, values));
    return value;
  });
  const local = JSON.parse(text) as KubeObject;
  if (local.kind === 'DaemonSet') placeByLabel(local as DaemonSet);
  return local;
}

interface DaemonSet {
  readonly metadata: { readonly name: DaemonSetName };
  readonly spec: { readonly template: { readonly spec: { nodeSelector?: Record<string, string> } } };
}

function placeByLabel({ metadata, spec }: DaemonSet): void {
  const pod = spec.template.spec;
  pod.nodeSelector = { ...pod.nodeSelector, [placementLabel(metadata.name)]: PLACED };
}

function localVariable(variable: unknown, { image, temporalAddress }: LocalValues): unknown {
  const { name, value } = variable as { readonly name: string; readonly value?: string };
  if (name === 'TEMPORAL_ADDRESS') return { name, value: temporalAddress };
  if (name === 'CLUSTER_NAME') return { name, value: CLUSTER_NAME };
  // Old servers want the image of the product.
  if (name === 'SLAVE_IMAGE') return { name, value: value?.startsWith(IMAGE_IN_MANIFESTS) ? image : PAUSE_IMAGE };
  // Whoever tries what the reconciler repairs would not wait for a minute, nor for a slave as long as a GPU may need.
  if (name === 'RECONCILE_SECONDS') return { name, value: '5' };
  if (name === 'SLAVE_GRACE_SECONDS') return { name, value: '15' };
  return variable;
}

const isForPods = ({ kind }: KubeObject): boolean => FOR_PODS.includes(kind);

/** A Service without selector keeps the endpoints that it is given. */
function withoutSelector(object: KubeObject): KubeObject {
  if (object.kind !== 'Service') return object;
  const { selector: _, ...spec } = { selector: undefined, ...object.spec };
  return { ...object, spec };
}

const kubectl = (cluster: Cluster, ...args: string[]): Promise<string> =>
  run(cluster.kubectl, ['--kubeconfig', cluster.kubeconfig, ...args]);

const wait = (cluster: Cluster, object: string, ...conditions: string[]): Promise<string> =>
  kubectl(cluster, 'wait', object, ...conditions.map((condition) => `--for=${condition}`), '--timeout=120s');

async function apply(cluster: Cluster, objects: readonly unknown[]): Promise<void> {
  const file = join(cluster.paths.config, 'product.json');
  writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }), { mode: 0o600 });
  await kubectl(cluster, 'apply', '--server-side', '--force-conflicts', '-f', file);
}

async function labelNodes(cluster: Cluster): Promise<void> {
  const names = cluster.nodes.map(({ name }) => name);
  const labels = [
    `${NODE_LABEL.key}=${NODE_LABEL.value}`,
    ...DAEMON_SETS.map((daemonSet) => `${placementLabel(daemonSet)}=${PLACED}`),
  ];
  await kubectl(cluster, 'label', 'nodes', ...names, ...labels, '--overwrite');
}

async function rollout(cluster: Cluster, { kind, metadata }: KubeObject): Promise<void> {
  const what = `${kind.toLowerCase()}/${metadata.name}`;
  await kubectl(cluster, 'rollout', 'status', what, ...inNamespace(metadata), '--timeout=120s');
}

const inNamespace = ({ namespace }: KubeObject['metadata']): readonly string[] =>
  namespace === undefined ? [] : [`--namespace=${namespace}`];

/** Waits until kube-apiserver reaches the product and every node offers its devices. */
async function available(cluster: Cluster): Promise<void> {
  await Promise.all([
    // The control worker makes the first one, kube-apiserver the second, for the CustomResourceDefinition.
    wait(cluster, 'apiservice/v1alpha1.device-mounter.io', 'create', 'condition=Available'),
    wait(cluster, 'apiservice/v1beta1.device-mounter.io', 'create', 'condition=Available'),
    ...cluster.nodes.flatMap(({ name }) =>
      Object.entries(LOCAL_RESOURCES).map(([resource, count]) =>
        wait(cluster, `node/${name}`, `jsonpath={.status.allocatable['${resource.replaceAll('.', '\\.')}']}=${count}`),
      ),
    ),
  ]);
}
