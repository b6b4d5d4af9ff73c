import type { DeviceMount } from '../contract/device-mount.ts';
import { isLabelValue, isQualifiedName } from './reserved-keys.ts';

export type Selector = (mount: DeviceMount) => boolean;
type Labels = Readonly<Record<string, string>>;

/** Fields that a `fieldSelector` may name. */
const FIELDS: Readonly<Record<string, (mount: DeviceMount) => string>> = {
  'metadata.name': ({ metadata }) => metadata.name,
  'metadata.namespace': ({ metadata }) => metadata.namespace,
  'spec.podName': ({ spec }) => spec.podName,
  'spec.podUid': ({ spec }) => spec.podUid,
  'spec.container': ({ spec }) => spec.container,
  'spec.deviceType': ({ spec }) => spec.deviceType,
  'status.phase': ({ status }) => status.phase,
  'status.node': ({ status }) => status.node ?? '',
  'status.user': ({ status }) => status.user,
};

export interface FieldSelector {
  readonly matches: Selector;
  /** The one name that it allows, if so: what RBAC's `resourceNames` is compared with. */
  readonly name?: string;
}

/** `a=b,c!=d` as `k8s.io/apimachinery/pkg/fields`; what is wrong with it as text. */
export function parseFieldSelector(text: string): FieldSelector | string {
  const terms = text.split(',').filter((term) => term !== '');
  const selectors: Selector[] = [];
  let name: string | undefined;
  for (const term of terms) {
    const [, field = '', operator, value = ''] = /^([^=!]+)(==|=|!=)(.*)$/.exec(term) ?? [];
    if (operator === undefined) return `must be terms like metadata.name=x, has "${term}"`;
    const read = Object.hasOwn(FIELDS, field) ? FIELDS[field] : undefined;
    if (read === undefined) return `field label not supported: ${field}`;
    const wanted = operator !== '!=';
    selectors.push((mount) => (read(mount) === value) === wanted);
    if (field === 'metadata.name' && wanted) name = value;
  }
  return { matches: every(selectors), ...(name !== undefined && { name }) };
}

/** `a=b,c!=d,e in (f,g),h notin (i),j,!k` as `k8s.io/apimachinery/pkg/labels`; what is wrong with it as text. */
export function parseLabelSelector(text: string): Selector | string {
  const terms = text.match(/(?:[^,(]|\([^)]*\))+/g) ?? [];
  const selectors: Selector[] = [];
  for (const term of terms.map((part) => part.trim())) {
    const rule = labelRule(term);
    if (typeof rule === 'string') return rule;
    selectors.push(({ metadata }) => rule(metadata.labels ?? {}));
  }
  return every(selectors);
}

function labelRule(term: string): ((labels: Labels) => boolean) | string {
  const [, not, key = '', operator = '', rest = ''] =
    /^(!?)\s*([^\s=!()]+)\s*(==|=|!=|in\b|notin\b)?\s*(.*)$/.exec(term) ?? [];
  if (!isQualifiedName(key)) return `must be terms like app=x, has "${term}"`;
  if (operator === '') {
    if (rest !== '') return `must be terms like app=x, has "${term}"`;
    return (labels) => Object.hasOwn(labels, key) !== (not === '!');
  }
  const values = valuesOf(operator, rest);
  if (not === '!' || values === undefined) return `must be terms like app=x, has "${term}"`;
  const wanted = operator !== '!=' && operator !== 'notin';
  return (labels) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    return (value !== undefined && values.includes(value)) === wanted;
  };
}

function valuesOf(operator: string, rest: string): readonly string[] | undefined {
  const isSet = operator === 'in' || operator === 'notin';
  const list = isSet ? /^\(([^()]*)\)$/.exec(rest)?.[1]?.split(',') : [rest];
  const values = list?.map((value) => value.trim());
  return values?.every(isLabelValue) ? values : undefined;
}

function every(selectors: readonly Selector[]): Selector {
  return (mount) => selectors.every((matches) => matches(mount));
}
