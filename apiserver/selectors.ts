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
  const selectors: Selector[] = [];
  for (const term of termsOf(text)) {
    const rule = labelRule(term);
    if (rule === undefined) return `must be terms like app=x, has "${term.join(' ')}"`;
    selectors.push(({ metadata }) => rule(metadata.labels ?? {}));
  }
  return every(selectors);
}

/** Signs and words. Each character but a blank begins a token, so that no text makes it look twice at one. */
const TOKEN = /[(),]|==?|!=?|[^\s(),=!]+/g;

/** The tokens between commas that are not within brackets. */
function termsOf(text: string): readonly (readonly string[])[] {
  const terms: string[][] = [[]];
  let inBrackets = false;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '(' || token === ')') inBrackets = token === '(';
    if (token === ',' && !inBrackets) terms.push([]);
    else terms.at(-1)?.push(token);
  }
  return terms.filter(({ length }) => length > 0);
}

function labelRule(term: readonly string[]): ((labels: Labels) => boolean) | undefined {
  const not = term[0] === '!';
  const [key = '', operator, ...rest] = not ? term.slice(1) : term;
  if (!isQualifiedName(key)) return undefined;
  if (operator === undefined) return (labels) => Object.hasOwn(labels, key) !== not;
  const values = not ? undefined : valuesOf(operator, rest);
  if (values === undefined) return undefined;
  const wanted = operator !== '!=' && operator !== 'notin';
  return (labels) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    return (value !== undefined && values.has(value)) === wanted;
  };
}

function valuesOf(operator: string, tokens: readonly string[]): ReadonlySet<string> | undefined {
  if (operator === 'in' || operator === 'notin') {
    const isList = tokens.length >= 2 && tokens[0] === '(' && tokens.at(-1) === ')';
    return isList ? listOf(tokens.slice(1, -1)) : undefined;
  }
  return ['=', '==', '!='].includes(operator) && !tokens.includes(',') ? listOf(tokens) : undefined;
}

/** Undefined when something between two commas is no value of a label. */
function listOf(tokens: readonly string[]): ReadonlySet<string> | undefined {
  const values = new Set<string>();
  let value: string | undefined;
  for (const token of [...tokens, ',']) {
    if (token === ',') {
      values.add(value ?? '');
      value = undefined;
    } else if (value !== undefined || !isLabelValue(token)) return undefined;
    else value = token;
  }
  return values;
}

function every(selectors: readonly Selector[]): Selector {
  return (mount) => selectors.every((matches) => matches(mount));
}
