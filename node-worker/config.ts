import { type Options, wholeNumber } from '../process/options.ts';
import { SHARED_OPTIONS } from '../process/shared-options.ts';
import { TEMPORAL_OPTIONS } from '../process/temporal-options.ts';

export const SUMMARY = 'Gives devices to running containers of this node, and takes them back.';

export const OPTIONS = {
  ...TEMPORAL_OPTIONS,
  'temporal-address': { env: 'TEMPORAL_ADDRESS', required: true, help: 'Temporal frontend.', value: 'host:port' },
  namespace: {
    env: 'POD_NAMESPACE',
    required: true,
    help: 'Kubernetes namespace of the product; the Lease of this worker is there.',
    value: 'name',
  },
  'node-name': { env: 'NODE_NAME', required: true, help: 'Kubernetes name of this node.', value: 'name' },
  'cluster-name': SHARED_OPTIONS['cluster-name'],
  kubeconfig: SHARED_OPTIONS.kubeconfig,
  'signing-public-keys': {
    default: '/etc/device-mounter/signing-public/public.pem',
    help: 'Ed25519 public keys (PEM, one or more) of the apiserver. Read again when changed; see docs/decisions/0002-requests-are-signed.md.',
    value: 'file',
  },
  'kubelet-dir': {
    default: '/var/lib/kubelet',
    help: 'Root directory of the kubelet.',
    value: 'directory',
  },
  'device-plugin-dir': {
    default: '/var/lib/kubelet/device-plugins',
    help: 'Where the kubelet keeps its checkpoint of devices; fixed in the kubelet, whatever its root directory.',
    value: 'directory',
  },
  'cri-socket': {
    help: 'Sockets of the container runtime on the host, separated by commas: the first that exists is used. Without it those of k3s and RKE2, k0s, MicroK8s, CRI-O, cri-dockerd and containerd.',
    value: 'paths',
  },
  'host-root': {
    default: '/proc/1/root',
    help: 'Where the root of the host is seen; device files are looked up in its /dev.',
    value: 'directory',
  },
  'driver-root': {
    help: 'Folder of the host that has proc and dev of device drivers; without it the root of the host, then /run/nvidia/driver.',
    value: 'directory',
  },
  'state-dir': {
    default: '/var/lib/device-mounter',
    help: 'Where the checkpoint of each mount is kept; must outlive the pod.',
    value: 'directory',
  },
  'health-port': {
    env: 'HEALTH_PORT',
    default: '8081',
    help: 'Port of /livez, /readyz and /metrics.',
    value: 'port',
    check: wholeNumber(1, 65_535),
  },
} as const satisfies Options;
