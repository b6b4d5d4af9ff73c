import { join } from 'node:path';
import { CLUSTER_NAME, CONTROL_ADDRESS } from './addresses.ts';
import type { Cluster } from './cluster.ts';
import { LOCAL_DEVS } from './devs.ts';
import { PAUSE_IMAGE } from './image/small.ts';
import { TEMPORAL_NETWORK } from './networks.ts';
import type { ClusterNode } from './node/node.ts';
import { PRODUCT_NAMESPACE } from './product-keys.ts';
import { run } from './run.ts';
import { Server, type ServerSpec } from './server.ts';
import { REPOSITORY } from './state.ts';

const APISERVER_PORT = 8443;
const FIRST_HEALTH_PORT = 8081;
const ENDPOINTS = 'device-mounter-apiserver-host';

/** Leads the product's Service to the process on this machine. */
export function hostEndpoints(): unknown {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: ENDPOINTS,
      namespace: PRODUCT_NAMESPACE,
      labels: { 'kubernetes.io/service-name': 'device-mounter-apiserver' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: [CONTROL_ADDRESS], conditions: { ready: true } }],
    ports: [{ name: 'https', port: APISERVER_PORT, protocol: 'TCP' }],
  };
}

type Program = (folder: string, args: readonly string[]) => Pick<ServerSpec, 'command' | 'args' | 'env'>;

/** The processes of the product; `keys` is the folder of `ensureProductKeys`. */
export function hostSpecs(
  cluster: Pick<Cluster, 'kubeconfig' | 'temporalAddress' | 'nodes'>,
  keys: string,
): ServerSpec[] {
  const env = {
    KUBECONFIG: cluster.kubeconfig,
    TEMPORAL_ADDRESS: cluster.temporalAddress,
    POD_NAMESPACE: PRODUCT_NAMESPACE,
    CLUSTER_NAME,
  };
  const program: Program = (folder, args) => ({
    command: join(REPOSITORY, 'node_modules', 'node', 'bin', 'node'),
    args: [join(REPOSITORY, folder, 'main.ts'), ...args],
    env,
  });
  const publicKeys = `--signing-public-keys=${join(keys, 'public.pem')}`;
  const apiserver = [`--bind-address=${CONTROL_ADDRESS}`, `--secure-port=${APISERVER_PORT}`, `--tls-dir=${keys}`];
  return [
    {
      name: 'product-apiserver',
      ...program('apiserver', [...apiserver, `--signing-key=${join(keys, 'private.pem')}`]),
    },
    {
      name: 'product-control',
      // Its health port listens on all addresses; there these are Temporal's.
      networkNamespace: TEMPORAL_NETWORK,
      ...program('workflows', [publicKeys, `--slave-image=${PAUSE_IMAGE}`, `--health-port=${FIRST_HEALTH_PORT}`]),
    },
    ...cluster.nodes.flatMap((node, index) => nodeSpecs(node, program, publicKeys, FIRST_HEALTH_PORT + 1 + 2 * index)),
  ];
}

function nodeSpecs(node: ClusterNode, program: Program, publicKeys: string, healthPort: number): ServerSpec[] {
  const mountNamespace = node.paths.namespace;
  const worker = [publicKeys, `--node-name=${node.name}`, `--health-port=${healthPort}`, '--host-root=/'];
  return [
    {
      name: `product-${node.name}-worker`,
      mountNamespace,
      networkNamespace: TEMPORAL_NETWORK,
      ...program('node-worker', worker),
    },
    {
      name: `product-${node.name}-plugin`,
      mountNamespace,
      networkNamespace: TEMPORAL_NETWORK,
      ...program('device-plugin', [`--devs=${LOCAL_DEVS}`, '--dev-root=/dev', `--health-port=${healthPort + 1}`]),
    },
  ];
}

export function startHostProduct(cluster: Cluster, keys: string): void {
  for (const spec of hostSpecs(cluster, keys)) new Server(cluster.paths, spec).start();
}

/** Ends what `startHostProduct` started, if it did. */
export async function endHostProduct(cluster: Cluster): Promise<void> {
  const servers = hostSpecs(cluster, '').map((spec) => new Server(cluster.paths, spec));
  if (servers.every((server) => server.pid() === undefined)) return;
  await Promise.all(servers.map((server) => server.stop('SIGTERM')));
  await run(cluster.kubectl, [
    `--kubeconfig=${cluster.kubeconfig}`,
    `--namespace=${PRODUCT_NAMESPACE}`,
    'delete',
    'endpointslice',
    ENDPOINTS,
    '--ignore-not-found',
  ]);
}
