import { CLUSTER_NAME } from '../contract/names.ts';

/** Settings that mean the same in every process of the product that has them. */
export const SHARED_OPTIONS = {
  namespace: {
    env: 'POD_NAMESPACE',
    default: 'device-mounter',
    help: 'Kubernetes namespace of the product.',
    value: 'name',
  },
  'cluster-name': {
    env: 'CLUSTER_NAME',
    help: 'Name of this cluster in Temporal, the same for all processes; without it, made of the UID of namespace kube-system.',
    value: 'name',
    check: (value: string) =>
      CLUSTER_NAME.test(value) ? undefined : 'at most 63 lower case letters, digits and dashes, as a DNS label',
  },
  kubeconfig: { env: 'KUBECONFIG', help: 'File with the cluster to use; without it the pod’s own.', value: 'file' },
} as const;
