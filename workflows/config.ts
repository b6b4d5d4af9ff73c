import { type Options, wholeNumber } from '../process/options.ts';
import { quantitiesFault } from '../process/quantities.ts';
import { SHARED_OPTIONS } from '../process/shared-options.ts';
import { TEMPORAL_OPTIONS } from '../process/temporal-options.ts';

const SECRET_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

const CERTIFICATES: readonly string[] = ['self', 'cert-manager', 'existing'];

export const SUMMARY = 'Runs the workflows of mounts and their steps in the cluster.';

export const OPTIONS = {
  ...TEMPORAL_OPTIONS,
  ...SHARED_OPTIONS,
  'signing-public-keys': {
    env: 'SIGNING_PUBLIC_KEYS',
    default: '/etc/device-mounter/signing-public/public.pem',
    help: 'Ed25519 public keys (PEM, one or more) of the apiserver, with --certificates=existing. Read again when changed; see docs/decisions/0002-requests-are-signed.md.',
    value: 'file',
  },
  certificates: {
    env: 'CERTIFICATES',
    default: 'existing',
    help: 'Who makes certificates and keys. self: the control worker makes all of them. cert-manager: it makes the keys that sign requests. existing: somebody else makes all of them. See docs/decisions/0018-the-control-worker-registers-the-api.md.',
    value: 'self, cert-manager or existing',
    check: (value: string) => (CERTIFICATES.includes(value) ? undefined : `one of ${CERTIFICATES.join(', ')}`),
  },
  'api-service-owner': {
    env: 'API_SERVICE_OWNER',
    help: 'ClusterRole with which the APIService is deleted. With it the control worker registers the API as long as the apiserver answers; without it somebody else has to.',
    value: 'name',
  },
  'slave-image': {
    env: 'SLAVE_IMAGE',
    default: 'registry.k8s.io/pause:3.10',
    help: 'Image of slave pods: it must run as any user and wait for a signal. Before Kubernetes 1.30 it must have a shell and sleep, as the image of device-mounter has.',
    value: 'image',
  },
  'slave-pull-secrets': {
    env: 'SLAVE_PULL_SECRETS',
    help: 'Secrets for that image, separated by commas. They must be in the namespaces of the users’ pods; where one is not, it is not used.',
    value: 'names',
    check: (value: string) =>
      value.split(',').every((name) => SECRET_NAME.test(name)) ? undefined : 'names of Secrets, separated by commas',
  },
  // A slave sleeps, so its request is next to nothing: what hundreds of slaves request is lost to other pods of the node. The CPU limit also
  // holds for the runtime's start of the container, which takes seconds with less.
  'slave-requests': {
    env: 'SLAVE_REQUESTS',
    default: 'cpu=5m,memory=32Mi',
    help: 'What slave pods request besides devices. See docs/decisions/0010-slaves-request-next-to-nothing.md.',
    value: 'quantities',
    check: quantitiesFault,
  },
  'slave-limits': {
    env: 'SLAVE_LIMITS',
    default: 'cpu=100m,memory=32Mi',
    help: 'Limits of slave pods besides devices. Quotas and limit ranges may demand both requests and limits.',
    value: 'quantities',
    check: quantitiesFault,
  },
  'slave-grace-seconds': {
    env: 'SLAVE_GRACE_SECONDS',
    default: '30',
    help: 'How long a slave pod that somebody deletes, evicts or preempts holds its devices, so that the node worker can end what uses them.',
    value: 'seconds',
    check: wholeNumber(15, 600),
  },
  'reconcile-seconds': {
    env: 'RECONCILE_SECONDS',
    default: '60',
    help: 'How often the reconciler looks for mounts without an owner and repairs them.',
    value: 'seconds',
    check: wholeNumber(1, 3_600),
  },
  'health-port': {
    env: 'HEALTH_PORT',
    default: '8081',
    help: 'Port of /livez, /readyz and /metrics.',
    value: 'port',
    check: wholeNumber(0, 65_535),
  },
} as const satisfies Options;
