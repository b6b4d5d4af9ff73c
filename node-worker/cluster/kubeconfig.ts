import type { RequestOptions } from 'node:https';
import type { KubeAccess } from '../../process/kube-api.ts';

/**
 * The cluster of a kubeconfig file, for a node worker that runs in no pod. The client library, which knows all forms of
 * such files, is loaded for this only: it takes 60 MB.
 */
export async function kubeconfigAccess(file: string): Promise<() => KubeAccess> {
  const { kubeConfigOf } = await import('../../process/kubernetes.ts');
  const config = kubeConfigOf(file);
  const server = config.getCurrentCluster()?.server;
  if (server === undefined) throw new Error(`Cannot find kube-apiserver: "${file}" has no current cluster`);
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const access: KubeAccess = {
    server,
    ...pem('ca', options.ca),
    ...pem('cert', options.cert),
    ...pem('key', options.key),
    ...(config.getCurrentUser()?.token !== undefined && { token: config.getCurrentUser()?.token ?? '' }),
  };
  return () => access;
}

function pem<Name extends string>(name: Name, value: unknown): { readonly [N in Name]?: string } {
  const text = Buffer.isBuffer(value) ? value.toString() : typeof value === 'string' ? value : undefined;
  return (text === undefined ? {} : { [name]: text }) as { readonly [N in Name]?: string };
}
