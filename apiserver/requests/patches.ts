import { DEVICE_TYPES, type DeviceTypeName } from '../../contract/device-types.ts';
import type { FailureCause } from '../../contract/failures.ts';
import type { PatchOperation } from '../../contract/requests.ts';
import { isSubdomain } from './raw-path.ts';
import { isLabelValue, isQualifiedName, reservedBecause } from './reserved-keys.ts';

/** An operation as the user wrote it. */
interface GivenOperation {
  readonly op: string;
  readonly path: string;
  readonly value?: unknown;
}

/** What may stand at a place of the slave pod: undefined when `value` may, else the rule that it breaks. */
type ValueRule = (value: unknown) => string | undefined;

/** What may stand at a place; `last` is the last part of its path. */
type PlaceRule = (last: string, deviceType: DeviceTypeName) => ValueRule | { readonly forbidden: string };

const name: ValueRule = (value) =>
  typeof value === 'string' && isSubdomain(value) ? undefined : 'must be a DNS subdomain';
const tolerations: ValueRule = (value) =>
  Array.isArray(value) && value.length <= 32
    ? value.map((one) => toleration(one)).find((rule) => rule !== undefined)
    : 'must be a list of at most 32 tolerations';

/** Everything that a patch may change; all else is refused. `*` is any one part, `#` an index or `-`. */
const PLACES: Readonly<Record<string, PlaceRule>> = {
  'spec/schedulerName': () => name,
  'spec/priorityClassName': () => name,
  'spec/runtimeClassName': () => name,
  'spec/tolerations': () => tolerations,
  'spec/tolerations/#': () => toleration,
  'spec/containers/0/resources/limits/*': (key, type) => resource(key, type),
  'spec/containers/0/resources/requests/*': (key, type) => resource(key, type),
  'metadata/labels/*': (key) => metadataKey('labels', key, isLabel),
  'metadata/annotations/*': (key) => metadataKey('annotations', key, isAnnotation),
};

/** Its value has to be compared with the target's priority, too: `priorityProblems`. */
export const PRIORITY_CLASS = '/spec/priorityClassName';

const OPS = ['add', 'replace', 'remove', 'test'];
const ALLOWED =
  'only schedulerName, priorityClassName, runtimeClassName, tolerations, device resources, labels and annotations may be changed';

/** The problems of one operation on the slave pod, by field below `field`; none when it may be applied. */
export function patchProblems(
  given: GivenOperation,
  deviceType: DeviceTypeName,
  field: string,
): readonly FailureCause[] {
  const forbidden = (part: string, rule: string): FailureCause => ({
    reason: 'FieldValueForbidden',
    field: `${field}.${part}`,
    message: `Forbidden: ${given.op} ${given.path}: ${rule}`,
  });
  if (!OPS.includes(given.op)) return [forbidden('op', `the operation must be one of ${OPS.join(', ')}`)];
  const parts = pointerParts(given.path);
  if (parts === undefined) return [forbidden('path', 'it must be a JSON Pointer')];
  const found = placeOf(parts, deviceType);
  if (typeof found === 'object') return [forbidden('path', found.forbidden)];
  if (given.op === 'remove' && given.path === PRIORITY_CLASS) {
    return [forbidden('op', 'without a class it would get the cluster’s default, which may be above the target’s')];
  }
  const rule = given.op === 'remove' ? undefined : found(given.value);
  if (rule === undefined) return [];
  return [{ reason: 'FieldValueInvalid', field: `${field}.value`, message: `Invalid value: ${given.path} ${rule}` }];
}

/** The operation in the form of the contract; call only when `patchProblems` finds none. */
export function operationOf({ op, path, value }: GivenOperation): PatchOperation {
  return { op: op as PatchOperation['op'], path, ...(value !== undefined && { value }) };
}

function placeOf(parts: readonly string[], deviceType: DeviceTypeName): ReturnType<PlaceRule> {
  const rule = Object.entries(PLACES).find(([place]) => isAt(parts, place.split('/')))?.[1];
  return rule === undefined ? { forbidden: ALLOWED } : rule(parts.at(-1) ?? '', deviceType);
}

function isAt(parts: readonly string[], place: readonly string[]): boolean {
  return (
    parts.length === place.length &&
    place.every((want, index) => {
      const part = parts[index] ?? '';
      return want === '*' || part === want || (want === '#' && /^(?:-|\d{1,3})$/.test(part));
    })
  );
}

/** Parts of a JSON Pointer (RFC 6901), so that an escaped slash never makes two parts of one; undefined when it is none. */
function pointerParts(path: string): readonly string[] | undefined {
  if (!/^(?:\/(?:[^~/]|~[01])*)+$/.test(path)) return undefined;
  return path
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function resource(key: string, deviceType: DeviceTypeName): ReturnType<PlaceRule> {
  if (!isDeviceResource(key, deviceType))
    return { forbidden: `"${key}" is not a resource of ${deviceType} (${DEVICE_TYPES[deviceType].what})` };
  return (value) => (isQuantity(value) ? undefined : 'must be a whole number from 1');
}

function isQuantity(value: unknown): boolean {
  return typeof value === 'number'
    ? Number.isSafeInteger(value) && value > 0
    : typeof value === 'string' && /^[1-9]\d{0,14}$/.test(value);
}

/** Whether a request of this type may ask for the resource. */
export function isDeviceResource(key: string, deviceType: DeviceTypeName): boolean {
  return isQualifiedName(key) && DEVICE_TYPES[deviceType].resources.test(key);
}

function metadataKey(field: 'labels' | 'annotations', key: string, rule: ValueRule): ReturnType<PlaceRule> {
  const because = isQualifiedName(key) ? reservedBecause(field, key) : 'the key must be a qualified name';
  return because === undefined ? rule : { forbidden: because };
}

const isLabel: ValueRule = (value) =>
  typeof value === 'string' && isLabelValue(value) ? undefined : 'must be a label value';
const isAnnotation: ValueRule = (value) =>
  typeof value === 'string' && value.length <= 16_384 ? undefined : 'must be a text of at most 16384 characters';

const TOLERATION: Readonly<Record<string, (value: unknown) => boolean>> = {
  key: (value) => typeof value === 'string' && (value === '' || isQualifiedName(value)),
  operator: (value) => value === 'Exists' || value === 'Equal',
  value: (value) => typeof value === 'string' && isLabelValue(value),
  effect: (value) => value === '' || value === 'NoSchedule' || value === 'PreferNoSchedule' || value === 'NoExecute',
  tolerationSeconds: (value) => Number.isSafeInteger(value),
};

function toleration(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'must be a toleration';
  const wrong = Object.entries(value).find(
    ([key, part]) => !Object.hasOwn(TOLERATION, key) || !TOLERATION[key]?.(part),
  );
  return wrong === undefined ? undefined : `must be a toleration: its field "${wrong[0]}" is none or has a wrong value`;
}
