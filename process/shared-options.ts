/** Settings that mean the same in every process of the product that has them. */
export const SHARED_OPTIONS = {
  'temporal-address': {
    env: 'TEMPORAL_ADDRESS',
    default: '127.0.0.1:7233',
    help: 'Temporal frontend.',
    value: 'host:port',
  },
  'temporal-namespace': {
    env: 'TEMPORAL_NAMESPACE',
    default: 'default',
    help: 'Temporal namespace of the mounts.',
    value: 'name',
  },
  namespace: {
    env: 'POD_NAMESPACE',
    default: 'device-mounter',
    help: 'Kubernetes namespace of the product.',
    value: 'name',
  },
  kubeconfig: { env: 'KUBECONFIG', help: 'File with the cluster to use; without it the pod’s own.', value: 'file' },
} as const;
