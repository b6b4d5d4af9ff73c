import { type KeyObject, randomUUID } from 'node:crypto';
import type { DeviceMount } from '../contract/device-mount.ts';
import type { DeviceTypeName } from '../contract/device-types.ts';
import { type FailureCause, nothingMounted } from '../contract/failures.ts';
import { fingerprintOf } from '../contract/fingerprint.ts';
import { mountOfRequest } from '../contract/mount-of-request.ts';
import type { MountRequest, UnmountRequest } from '../contract/requests.ts';
import { signRequest } from '../contract/signature.ts';
import { type Form, formOf } from './answers/negotiation.ts';
import { sendJson, sendText, warn } from './answers/respond.ts';
import { allow, type Call, nameIn } from './call.ts';
import { ownAttributes, type Review } from './identity/authorization.ts';
import type { Mounts } from './mounts/mounts.ts';
import { type ListObjects, listOf, mountsMeant, withObjects, withoutVersion } from './mounts/objects.ts';
import { type MountBody, parseMountBody } from './requests/mount-body.ts';
import {
  bodyProblems,
  type CommonQuery,
  mountRequestOf,
  parseCommonQuery,
  refuseProblems,
  splitProblems,
  UNATTENDED_SECONDS,
  userOf,
} from './requests/mount-request.ts';
import { LONGEST_ANSWER_MS, type Patience, patienceOf } from './requests/patience.ts';
import { type GetPriority, priorityProblems } from './requests/priority.ts';
import { readBody } from './requests/request-body.ts';
import { checkReady, type GetPod, getTarget, targetOf } from './requests/target.ts';

export interface PodRoutesDeps {
  readonly review: Review;
  readonly getPod: GetPod;
  readonly getPriority: GetPriority;
  readonly mounts: Mounts;
  readonly listObjects: ListObjects;
  /** Name of this cluster. */
  readonly clusterName: () => Promise<string>;
  /** Ed25519, as it is now. */
  readonly signingKey: () => KeyObject;
}

type TypedQuery = CommonQuery & { readonly deviceType: DeviceTypeName };

/** `PUT …/pods/{name}/mount`. */
export async function mountDevices(deps: PodRoutesDeps, call: Call): Promise<void> {
  const { req, res, identity, parameters, access } = call;
  const where = await allowedPod(deps, call, 'mount');
  const form = formOf(req.headers.accept);
  const common = parseCommonQuery(parameters);
  const queue = parameters.flag('queue');
  const { deviceType, body } = await mountBody(call, common);
  await allowShaping(deps, call, body, where.namespace);
  const pod = await reachablePod(deps, where);
  const tooHigh = await priorityProblems(deps.getPriority, pod, body.patches);
  refuseProblems([], [...tooHigh, ...splitProblems(body, queue)], { kind: 'DeviceMount', name: body.name ?? '' });
  const query = { ...common, deviceType, queue };
  const what = { cluster: await deps.clusterName(), target: targetOf(pod, query.container), query, body };
  const request = mountRequestOf({ ...what, identity, now: new Date() });
  const first = pendingMount(request, pod.node);
  access.mount = `${where.namespace}/${request.name}`;
  if (query.waitSeconds * 1_000 > LONGEST_ANSWER_MS) {
    warn(res, `wait_second is longer than ${LONGEST_ANSWER_MS / 1_000} s: the answer may come before the devices do`);
  }
  const input = signRequest(request, deps.signingKey());
  const chosen = body.name !== undefined || body.idempotencyKey !== undefined;
  const wanted = { input, first, fingerprint: fingerprintOf(request, chosen) };
  if (query.dryRun) {
    checkReady(pod, request.target);
    await deps.mounts.plan(wanted);
    return answer(call, form, 200, withoutVersion(first), `Would mount ${deviceType} devices`);
  }
  const { mountedMs, shownMs } = patience(call, query);
  const { state, mount, shown } = await deps.mounts.mount(wanted, mountedMs, shownMs);
  const { items } = shown ? listOf([mount]) : await withObjects(deps.listObjects, [mount], request.target);
  const [value] = items;
  for (const { message } of mount.status.warnings ?? []) warn(res, message);
  if (state === 'mounted') answer(call, form, 200, value, `Successfully mounted ${deviceType} devices`);
  else answer(call, form, 202, value, `Mounting ${deviceType} devices goes on as devicemounts/${request.name}`);
}

/** `PUT …/pods/{name}/unmount`. Its body is not read. */
export async function unmountDevices(deps: PodRoutesDeps, call: Call): Promise<void> {
  const { req, identity, parameters } = call;
  const where = await allowedPod(deps, call, 'unmount');
  const form = formOf(req.headers.accept);
  const common = parseCommonQuery(parameters);
  const force = parameters.flag('force');
  const mount = parameters.text('mount');
  const device = parameters.text('device');
  parameters.choice('fieldValidation', ['Ignore', 'Warn', 'Strict']);
  const query = knownType(common, parameters.problems, []);
  warnOfUnknown(call, []);
  const pod = await reachablePod(deps, where);
  const request: UnmountRequest = {
    kind: 'unmount',
    cluster: await deps.clusterName(),
    id: randomUUID(),
    target: targetOf(pod, query.container),
    deviceType: query.deviceType,
    ...(mount !== undefined && { mount }),
    ...(device !== undefined && { device }),
    force,
    user: userOf(identity),
    requestedAt: new Date().toISOString(),
    deadlineSeconds: Math.max(query.deadlineSeconds, UNATTENDED_SECONDS),
  };
  if (query.dryRun) {
    const list = await mountsMeant(deps.listObjects, request);
    if (list.items.length === 0) throw nothingMounted(request);
    return answer(call, form, 200, list, `Would uninstall ${query.deviceType} devices`);
  }
  // An unmount goes forward, never back: `wait_second` only says how long its caller waits.
  const patienceMs = Math.min(patience(call, query).mountedMs, query.waitSeconds * 1_000);
  const released = await deps.mounts.unmount(signRequest(request, deps.signingKey()), patienceMs);
  if (released !== undefined) {
    const list = await withObjects(deps.listObjects, released.items, request.target);
    return answer(call, form, 200, list, `Successfully uninstalled ${query.deviceType} devices`);
  }
  const sentence = `Uninstalling ${query.deviceType} devices goes on`;
  return answer(call, form, 202, await releasing(deps, call, request), sentence);
}

/** The unmount has begun, so that whoever cannot be told which mounts it releases is told at least that. */
async function releasing({ listObjects }: PodRoutesDeps, { access, res }: Call, request: UnmountRequest) {
  try {
    return await mountsMeant(listObjects, request);
  } catch (err) {
    access.err = err;
    warn(res, 'the unmount has begun, but its mounts cannot be listed now: this list is empty for that reason');
    return listOf([]);
  }
}

async function allowedPod(deps: PodRoutesDeps, call: Call, subresource: 'mount' | 'unmount') {
  const namespace = nameIn(call.req, 'namespace');
  const name = nameIn(call.req, 'name');
  await allow(deps.review, call, ownAttributes({ verb: 'update', resource: 'pods', subresource, namespace, name }));
  return { namespace, name };
}

/**
 * A patch shapes a pod that the server makes, and a claim gives that pod devices: whoever sends one must be allowed to make such a pod,
 * and to read the claim that they name.
 * @throws Forbidden
 */
async function allowShaping(
  { review }: PodRoutesDeps,
  call: Call,
  { patches, claims }: MountBody,
  namespace: string,
): Promise<void> {
  if (patches.length + claims.length === 0) return;
  await allow(review, call, { verb: 'create', group: '', version: 'v1', resource: 'pods', namespace });
  for (const { resourceClaimName, resourceClaimTemplateName } of claims) {
    const [resource, name] =
      resourceClaimName === undefined
        ? (['resourceclaimtemplates', resourceClaimTemplateName ?? ''] as const)
        : (['resourceclaims', resourceClaimName] as const);
    await allow(review, call, { verb: 'get', group: 'resource.k8s.io', version: 'v1', resource, namespace, name });
  }
}

/** The pod; Temporal is asked at the same time whether it is there, so that nobody waits for one that is not. */
async function reachablePod(deps: PodRoutesDeps, { namespace, name }: { namespace: string; name: string }) {
  const reachable = deps.mounts.check();
  // A missing pod is the better answer; the rejection is taken up below otherwise.
  reachable.catch(() => undefined);
  const pod = await getTarget(deps.getPod, namespace, name);
  await reachable;
  return pod;
}

async function mountBody(call: Call, common: CommonQuery): Promise<{ deviceType: DeviceTypeName; body: MountBody }> {
  const { req, parameters } = call;
  const validation = parameters.choice('fieldValidation', ['Ignore', 'Warn', 'Strict']);
  const { body, problems, unknown } = parseMountBody(await readBody(req));
  const all = [
    ...problems,
    ...(common.deviceType === undefined ? [] : bodyProblems(body, common.deviceType)),
    ...(validation === 'Strict'
      ? unknown.map((field) => ({
          reason: 'FieldValueInvalid',
          field,
          message: `Invalid value: unknown field "${field}"`,
        }))
      : []),
  ];
  const { deviceType } = knownType(common, parameters.problems, all, body.name);
  warnOfUnknown(call, validation === 'Ignore' ? [] : unknown);
  // Without problems every field is there.
  return { deviceType, body: body as MountBody };
}

/** @throws BadRequest, Invalid */
function knownType(
  common: CommonQuery,
  queryProblems: readonly FailureCause[],
  bodyProblems: readonly FailureCause[],
  name = '',
): TypedQuery {
  refuseProblems(queryProblems, bodyProblems, { kind: 'DeviceMount', name });
  const { deviceType } = common;
  if (deviceType === undefined) throw new Error('a query without problems has a device type');
  return { ...common, deviceType };
}

function warnOfUnknown({ res, parameters }: Call, fields: readonly string[]): void {
  for (const text of parameters.warnings) warn(res, text);
  for (const name of parameters.unknown().slice(0, 8)) warn(res, `unknown parameter "${name}"`);
  for (const field of fields.slice(0, 8)) warn(res, `unknown field "${field}"`);
}

function patience({ access }: Call, { waitSeconds, timeoutMs }: CommonQuery): Patience {
  return patienceOf(waitSeconds, timeoutMs, performance.now() - access.startedAtMs);
}

function answer({ req, res }: Call, form: Form, code: number, value: unknown, sentence: string): void {
  if (form === 'text') sendText(res, code, sentence);
  else sendJson(req, res, code, value);
}

/** What a mount is before its workflow has said anything. */
function pendingMount(request: MountRequest, node: string | undefined): DeviceMount {
  const { requestedAt } = request;
  const identity = { uid: '', creationTimestamp: requestedAt, resourceVersion: String(Date.parse(requestedAt)) };
  const state = { phase: 'Pending', devices: [], slaves: [] } as const;
  return mountOfRequest(request, identity, { ...state, ...(node !== undefined && { node }) });
}
