import {
  type Configuration,
  CoreV1Api,
  createConfiguration,
  KubeConfig,
  type RequestContext,
  type ResponseContext,
  ServerConfiguration,
  VersionApi,
} from '@kubernetes/client-node';

/** Longer than kube-apiserver takes for a single object, even one that has to elect its etcd leader. */
const CALL_MS = 10_000;

/**
 * client-node 2.0.1 makes a new connection pool for each call, so that each call is a TLS handshake. This keeps the first
 * pool. Its CA is the one read at start: after a change of the cluster's CA the process has to be started again.
 */
export class PooledKubeConfig extends KubeConfig {
  #pool: ReturnType<RequestContext['getDispatcher']>;

  override async applySecurityAuthentication(context: RequestContext): Promise<void> {
    await super.applySecurityAuthentication(context);
    this.#pool ??= context.getDispatcher();
    if (this.#pool !== undefined) context.setDispatcher(this.#pool);
  }
}

/** The cluster of the file `kubeconfig`, or that of the pod that this process runs in. */
export function kubeConfigOf(kubeconfig: string | undefined): KubeConfig {
  const config = new PooledKubeConfig();
  if (kubeconfig === undefined) config.loadFromCluster();
  else config.loadFromFile(kubeconfig);
  return config;
}

/** UID of the namespace `kube-system`. */
export async function kubeSystemUid(config: KubeConfig): Promise<string> {
  const { metadata } = await apiClient(config, CoreV1Api).readNamespace({ name: 'kube-system' });
  if (metadata?.uid === undefined) throw new Error('Cannot tell which cluster this is: kube-system has no UID');
  return metadata.uid;
}

/** For example 36, of Kubernetes 1.36. */
export async function kubernetesMinor(config: KubeConfig): Promise<number> {
  const { minor } = await apiClient(config, VersionApi).getCode();
  // Some distributions add a plus sign.
  return Number.parseInt(minor, 10);
}

/** A client of the cluster whose calls end after `callMs`: client-node has no deadline of its own. */
export function apiClient<Api>(
  config: KubeConfig,
  type: new (configuration: Configuration) => Api,
  callMs = CALL_MS,
): Api {
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Error('Cannot use the kubeconfig: it must name a cluster');
  return new type(
    createConfiguration({
      baseServer: new ServerConfiguration(cluster.server, {}),
      authMethods: { default: config },
      promiseMiddleware: [
        {
          pre: async (context: RequestContext) => {
            context.setSignal(AbortSignal.timeout(callMs));
            return context;
          },
          post: async (context: ResponseContext) => context,
        },
      ],
    }),
  );
}
