import { KubeConfig, type RequestContext } from '@kubernetes/client-node';

/**
 * client-node 2.0.1 makes a new connection pool for each call, so that each call is a TLS handshake. This keeps the first
 * pool. Its CA is the one read at start: after a change of the cluster's CA the process has to be started again.
 */
class PooledKubeConfig extends KubeConfig {
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
