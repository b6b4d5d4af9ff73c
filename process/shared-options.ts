/** Settings that mean the same in every process of the product that has them. */
export const SHARED_OPTIONS = {
  namespace: {
    env: 'POD_NAMESPACE',
    default: 'device-mounter',
    help: 'Kubernetes namespace of the product.',
    value: 'name',
  },
  kubeconfig: { env: 'KUBECONFIG', help: 'File with the cluster to use; without it the pod’s own.', value: 'file' },
} as const;
