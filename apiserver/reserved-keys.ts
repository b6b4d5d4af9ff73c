/** Of ours, what users of the original set themselves. */
const OWN_ALLOWED = ['device-mounter.io/expansion'];

/**
 * Prefixes of keys that make something of the cluster act on the pod with rights that its creator need not have: Kubernetes itself,
 * container runtimes and their hooks (CDI, NRI, CRI-O, Kata, crun), network attachments, and webhooks that inject containers or secrets.
 */
const RESERVED = [
  'kubernetes.io',
  'k8s.io',
  'device-mounter.io',
  'nri.io',
  'containerd.io',
  'crio.io',
  'cncf.io',
  'multus-cni.io',
  'istio.io',
  'linkerd.io',
  'dapr.io',
  'hashicorp.com',
  'cilium.io',
  'projectcalico.org',
  'openshift.io',
];

/** Why a user may not set this label or annotation on a slave pod; undefined when they may. */
export function reservedBecause(key: string): string | undefined {
  if (OWN_ALLOWED.includes(key)) return undefined;
  const slash = key.indexOf('/');
  if (slash === -1) {
    // Runtimes take orders from keys like io.kubernetes.cri-o.userns-mode and run.oci.handler.
    return key.includes('.') ? 'names with dots and without a prefix belong to container runtimes' : undefined;
  }
  const prefix = key.slice(0, slash).toLowerCase();
  if (/^(?:io|run|org)\./.test(prefix)) return `the prefix "${prefix}" belongs to container runtimes`;
  const owner = RESERVED.find((domain) => prefix === domain || prefix.endsWith(`.${domain}`));
  return owner === undefined ? undefined : `the prefix "${prefix}" is reserved`;
}

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const PREFIX = /^(?=.{1,253}\/)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\//;

/** Kubernetes' qualified name: optional DNS subdomain and slash, then at most 63 characters. */
export function isQualifiedName(key: string): boolean {
  const name = key.replace(PREFIX, '');
  return NAME.test(name);
}

export function isLabelValue(value: string): boolean {
  return value === '' || NAME.test(value);
}
