import { createHash, randomInt } from 'node:crypto';
import type { ClaimReference } from '../../contract/claims.ts';
import { DEVICE_TYPES, type DeviceTypeName, isDeviceType, isMeasure, isOfVgpu } from '../../contract/device-types.ts';
import { type FailureCause, fail } from '../../contract/failures.ts';
import { EXPANSION, EXPANSION_FORM, type MountRequest, type Target } from '../../contract/requests.ts';
import type { Identity } from '../identity/identity.ts';
import { fieldOf, type MountBody } from './mount-body.ts';
import type { Parameters } from './parameters.ts';
import { isDeviceResource, operationOf, patchProblems } from './patches.ts';
import { isLabelValue, isQualifiedName, reservedBecause } from './reserved-keys.ts';

/** `wait_second` when it is absent, as the original has it. */
const DEFAULT_WAIT_SECONDS = 10;
/** Deadline of a mount that nobody waits for (`wait_second=0`), and the least of an unmount: whoever was answered 202 counts on it. */
export const UNATTENDED_SECONDS = 600;
/** An hour, since nobody waits on the line for longer than kube-apiserver allows anyway. */
const MAX_WAIT_SECONDS = 3_600;

/** Each slave takes a pod slot and an address of the node. */
const MAX_SPLIT = 16;

const TYPES = Object.entries(DEVICE_TYPES).map(([name, { what }]) => `${name} (${what})`);

const RESOURCES_REQUIRED =
  'Required value: extended resources and how many of each, such as {"hostdev.k8s.io/dev_fuse": 1}';

const DEVICES_REQUIRED =
  'Required value: how many devices, such as {"volcano.sh/vgpu-number": 1}; the others say how much of each';

/** What the query of mount and unmount says in the same way. */
export interface CommonQuery {
  readonly deviceType: DeviceTypeName | undefined;
  readonly container: string | undefined;
  /** 0: answer at once. */
  readonly waitSeconds: number;
  readonly deadlineSeconds: number;
  /** The client's own patience, from kubectl's `--request-timeout`. */
  readonly timeoutMs: number | undefined;
  readonly dryRun: boolean;
}

export function parseCommonQuery(parameters: Parameters): CommonQuery {
  const given = parameters.text('device_type');
  const deviceType = given?.toUpperCase();
  if (given === undefined) {
    parameters.problems.push({
      reason: 'FieldValueRequired',
      field: 'device_type',
      message: `Required value: ${TYPES.join(' or ')}`,
    });
  } else if (!isDeviceType(given.toUpperCase())) {
    const message = `Unsupported value: ${JSON.stringify(given)}: must be ${TYPES.join(' or ')}`;
    parameters.problems.push({ reason: 'FieldValueNotSupported', field: 'device_type', message });
  }
  const wanted = parameters.count('wait_second') ?? DEFAULT_WAIT_SECONDS;
  const waitSeconds = Math.min(wanted, MAX_WAIT_SECONDS);
  if (wanted > waitSeconds) {
    parameters.warnings.push(`wait_second is at most ${MAX_WAIT_SECONDS}: ${wanted} counts as that`);
  }
  const container = parameters.text('container');
  parameters.text('fieldManager');
  parameters.text('pretty');
  return {
    deviceType: deviceType !== undefined && isDeviceType(deviceType) ? deviceType : undefined,
    container,
    waitSeconds,
    deadlineSeconds: waitSeconds === 0 ? UNATTENDED_SECONDS : waitSeconds,
    timeoutMs: parameters.duration('timeout'),
    dryRun: parameters.choice('dryRun', ['All']) === 'All',
  };
}

/** What is wrong with the fields of a body for this device type; their paths begin with the body's own keys. */
export function bodyProblems(body: Partial<MountBody>, deviceType: DeviceTypeName): readonly FailureCause[] {
  return [
    ...resourceProblems(body, deviceType),
    ...claimProblems(body.claims ?? [], deviceType),
    ...keyProblems('labels', body.labels ?? {}, (value) => (isLabelValue(value) ? undefined : 'must be a label value')),
    ...keyProblems('annotations', body.annotations ?? {}, (value, key) => {
      if (key === EXPANSION && !EXPANSION_FORM.test(value)) return 'must be "true" or "false"';
      return value.length <= 16_384 ? undefined : 'must have at most 16384 characters';
    }),
    ...(body.patches ?? []).flatMap((patch, index) => patchProblems(patch, deviceType, `patches[${index}]`)),
  ];
}

/** What is wrong with a slave for each device: each is a pod, and mounts that wait for each other's devices would wait for ever. */
export function splitProblems({ resources, claims, split }: MountBody, queue: boolean): readonly FailureCause[] {
  if (!split) return [];
  const count = Object.values(resources).reduce((sum, quantity) => sum + Number(quantity), 0);
  const rules = [
    ...(count > MAX_SPLIT ? [`at most ${MAX_SPLIT} devices can be split, ${count} are asked for`] : []),
    ...(Object.keys(resources).some(isOfVgpu) ? ['vGPUs cannot be split: leave out one of the two'] : []),
    ...(claims.length > 0 ? ['the devices of a claim cannot be split: leave out one of the two'] : []),
    ...(queue && count > 1 ? ['with queue, devices are reserved all at once: leave out one of the two'] : []),
  ];
  return rules.map((rule) => ({ reason: 'FieldValueInvalid', field: 'split', message: `Invalid value: ${rule}` }));
}

function resourceProblems(
  { resources, claims }: Partial<MountBody>,
  deviceType: DeviceTypeName,
): readonly FailureCause[] {
  // A field that is missing has a problem of its own.
  if (resources === undefined || claims === undefined) return [];
  const names = Object.keys(resources);
  if (names.length + claims.length === 0)
    return [{ reason: 'FieldValueRequired', field: 'resources', message: RESOURCES_REQUIRED }];
  if (names.every(isMeasure) && claims.length === 0)
    return [{ reason: 'FieldValueRequired', field: 'resources', message: DEVICES_REQUIRED }];
  return names
    .filter((resource) => !isDeviceResource(resource, deviceType))
    .map((resource) => ({
      reason: 'FieldValueNotSupported',
      field: fieldOf(['resources', resource]),
      message: `Unsupported value: "${resource}": it is not a resource of ${deviceType} (${DEVICE_TYPES[deviceType].what})`,
    }));
}

function claimProblems(claims: MountBody['claims'], deviceType: DeviceTypeName): readonly FailureCause[] {
  if (claims.length > 0 && !('claims' in DEVICE_TYPES[deviceType])) {
    const message = `Forbidden: ${deviceType} has no claims (${DEVICE_TYPES[deviceType].what})`;
    return [{ reason: 'FieldValueForbidden', field: 'claims', message }];
  }
  return claims.flatMap(({ name }, index) => {
    if (claims.findIndex((claim) => claim.name === name) === index) return [];
    const message = `Duplicate value: ${JSON.stringify(name)}`;
    return [{ reason: 'FieldValueDuplicate', field: fieldOf(['claims', index, 'name']), message }];
  });
}

function keyProblems(
  field: 'labels' | 'annotations',
  map: Readonly<Record<string, string>>,
  rule: (value: string, key: string) => string | undefined,
): readonly FailureCause[] {
  return Object.entries(map).flatMap(([key, value]): readonly FailureCause[] => {
    const at = fieldOf([field, key]);
    const shown = JSON.stringify(key);
    if (!isQualifiedName(key)) {
      return [{ reason: 'FieldValueInvalid', field: at, message: `Invalid value: ${shown}: must be a qualified name` }];
    }
    const reserved = reservedBecause(field, key);
    if (reserved !== undefined)
      return [{ reason: 'FieldValueForbidden', field: at, message: `Forbidden: ${reserved}` }];
    const broken = rule(value, key);
    return broken === undefined
      ? []
      : [{ reason: 'FieldValueInvalid', field: at, message: `Invalid value: ${broken}` }];
  });
}

/**
 * Reports all problems of a request at once: those of parameters as a bad request, those of the body alone as an invalid object.
 * @throws BadRequest, Invalid
 */
export function refuseProblems(
  parameters: readonly FailureCause[],
  body: readonly FailureCause[],
  object: { readonly kind: string; readonly name: string },
): void {
  const all = [...parameters, ...body];
  if (all.length === 0) return;
  const listed = all.map(({ field, message }) => `${field}: ${message}`);
  const text = listed.length === 1 ? listed.join() : `[${listed.join(', ')}]`;
  if (parameters.length > 0) throw fail('BadRequest', text, undefined, all);
  throw fail('Invalid', `${object.kind}.device-mounter.io "${object.name}" is invalid: ${text}`, undefined, all);
}

export interface MountRequestParts {
  readonly cluster: string;
  readonly target: Target;
  readonly query: CommonQuery & { readonly deviceType: DeviceTypeName; readonly queue: boolean };
  readonly body: MountBody;
  readonly identity: Identity;
  readonly now: Date;
}

/** The complete request to sign. */
export function mountRequestOf({ cluster, target, query, body, identity, now }: MountRequestParts): MountRequest {
  return {
    kind: 'mount',
    cluster,
    name: body.name ?? defaultName(target, body.idempotencyKey),
    target,
    deviceType: query.deviceType,
    resources: body.resources,
    labels: body.labels,
    annotations: body.annotations,
    patches: body.patches.map(operationOf),
    queue: query.queue,
    onRestart: body.onRestart,
    ...(body.inject !== 'auto' && { inject: body.inject }),
    ...(body.claims.length > 0 && { claims: body.claims.map(claimOf) }),
    ...(body.split && { split: true }),
    ...(body.leaseSeconds !== undefined && { leaseSeconds: body.leaseSeconds }),
    ...(body.idempotencyKey !== undefined && { idempotencyKey: body.idempotencyKey }),
    user: userOf(identity),
    requestedAt: now.toISOString(),
    deadlineSeconds: query.deadlineSeconds,
  };
}

function claimOf({ name, resourceClaimName, resourceClaimTemplateName }: MountBody['claims'][number]): ClaimReference {
  return {
    name,
    ...(resourceClaimName !== undefined && { resourceClaimName }),
    ...(resourceClaimTemplateName !== undefined && { resourceClaimTemplateName }),
  };
}

export function userOf({ name, uid }: Identity): MountRequest['user'] {
  return { name, ...(uid !== undefined && { uid }) };
}

/** Letters and digits that Kubernetes' own generated names use: no vowels, nothing to misread. */
const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
/** The part after the pod's name; pod names have 253 characters at most, so have ours. */
const MAX_POD_PART = 240;

/** `<pod>-<5 random>`; with an idempotency key always the same name, so that the second request meets the first. */
function defaultName({ pod, podUid }: Target, idempotencyKey: string | undefined): string {
  const bytes =
    idempotencyKey === undefined
      ? Array.from({ length: 5 }, () => randomInt(ALPHABET.length))
      : [
          ...createHash('sha256')
            .update(JSON.stringify([podUid, idempotencyKey]))
            .digest()
            .subarray(0, 10),
        ];
  const suffix = bytes.map((byte) => ALPHABET[byte % ALPHABET.length]).join('');
  return `${pod.slice(0, MAX_POD_PART).replace(/(?<![^a-z0-9])[^a-z0-9]+$/, '')}-${suffix}`;
}
