import { EXPANSION } from '../../contract/requests.ts';

/** Of ours, what users of the original set themselves. */
const OWN_ALLOWED = [EXPANSION];

/**
 * Prefixes of those that decide which devices a pod gets: schedulers and makers of devices, with their subdomains. Whatever else acts on
 * annotations or prefixed labels (Kubernetes, runtimes, network plugins, webhooks that inject) may do so with rights that the user lacks.
 */
const ALLOWED_PREFIXES = [
  'volcano.sh',
  'hami.io',
  'koordinator.sh',
  'yunikorn.apache.org',
  'kueue.x-k8s.io',
  'nvidia.com',
  'amd.com',
  'intel.com',
  'huawei.com',
  'cambricon.com',
  'hygon.com',
  'iluvatar.ai',
  'mthreads.com',
  'metax-tech.com',
];

/** In these a scheduler says which devices it has chosen, and a device plugin gives those, whoever has them already. */
const CHOICES = /^huawei\.com\/(?:AscendReal|kltDev|npu-core|Ascend\d.*)$/;

/** By these a controller recognises its own pods: a slave must not become one. */
const CONTROLLER_LABELS = [
  'pod-template-hash',
  'pod-template-generation',
  'controller-revision-hash',
  'controller-uid',
  'job-name',
];

/** Why a user may not set this label or annotation on a slave pod; undefined when they may. */
export function reservedBecause(field: 'labels' | 'annotations', key: string): string | undefined {
  if (OWN_ALLOWED.includes(key)) return undefined;
  if (CHOICES.test(key)) return 'a scheduler or a device plugin says by it which devices a pod has';
  const slash = key.indexOf('/');
  if (slash === -1 && field === 'labels' && !key.includes('.')) {
    return CONTROLLER_LABELS.includes(key) ? 'controllers recognise their pods by it' : undefined;
  }
  const prefix = key.slice(0, Math.max(0, slash));
  if (ALLOWED_PREFIXES.some((domain) => prefix === domain || prefix.endsWith(`.${domain}`))) return undefined;
  const plain = field === 'labels' ? 'names without dots and prefix, and ' : '';
  return `only ${plain}keys of schedulers and device makers may be set: ${ALLOWED_PREFIXES.join(', ')}`;
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
