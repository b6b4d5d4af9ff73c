import { isDeepStrictEqual } from 'node:util';
import type { DeviceMount } from '../contract/device-mount.ts';
import { agrees, type DeviceMountObject, objectOf } from '../contract/device-mount-object.ts';
import type { MountRequest, Signed } from '../contract/requests.ts';
import { ClusterError } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import type { Projection, ShownObject } from './first-objects.ts';
import { type MountEvent, publish } from './publish.ts';
import { verifiedTarget } from './verified-target.ts';

export interface ProjectMountInput {
  /** The request of the mount: only the object of its name is written, for the pod that it names. */
  readonly signed: Signed<MountRequest>;
  readonly mount: DeviceMount;
  /** Of the change that is shown. */
  readonly events?: readonly MountEvent[];
}

/** Whoever else writes an object does it once. */
const CONFLICTS = 5;

/** How far the clock of the machine may be behind that of Temporal: another mount whose version is from beyond that has not been. */
const CLOCK_SKEW_MS = 60_000;
/** Versions are dates as well, of which this is the last. */
const LATEST_MS = 8.64e15;

/**
 * Makes the object of a mount show it, and publishes its events. Nothing is written when the object shows a later state, so that tries may
 * overtake each other.
 * @throws InvalidSignature, and `ClusterError` for what may be different at the next try
 */
export async function projectMount(deps: Dependencies, input: ProjectMountInput): Promise<Projection> {
  const { signed, mount, events = [] } = input;
  verifiedTarget(deps, signed, mount);
  const [projected] = await Promise.allSettled([projection(deps, mount)]);
  // The pod is told, whatever becomes of the object.
  if (events.length > 0) await publish(deps, { signed, mount, events, ...objectIn(projected) });
  if (projected.status === 'rejected') throw projected.reason;
  return projected.value;
}

function objectIn(projected: PromiseSettledResult<Projection>): { readonly object?: { readonly uid: string } } {
  if (projected.status === 'rejected' || 'final' in projected.value) return {};
  return { object: { uid: projected.value.uid } };
}

async function projection(deps: Dependencies, mount: DeviceMount): Promise<Projection> {
  return (await deps.firstObjects.of(mount)) ?? projectPatiently(deps, mount);
}

async function projectPatiently(deps: Dependencies, mount: DeviceMount): Promise<Projection> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await project(deps, mount);
    } catch (err) {
      if (!(err instanceof ClusterError)) throw err;
      const isFinal = err.isClear && err.code !== 409;
      // Of what is read and then gone, as of what has changed since, the next look tells more.
      const isLost = err.code === 404 && attempt < CONFLICTS;
      if (isFinal && !isLost) return { final: err.message };
      if (!(err.code === 409 || isLost) || attempt === CONFLICTS) throw err;
    }
  }
}

/**
 * Begins to show a mount that has just begun itself, of which signature and target have just been checked: it has no object yet, as a rule.
 * `projectMount` waits for that.
 */
export function showNew(deps: Dependencies, mount: DeviceMount): void {
  deps.firstObjects.begin(mount, () => made(deps, mount).catch(() => projectPatiently(deps, mount)));
}

async function project(deps: Dependencies, mount: DeviceMount): Promise<Projection> {
  const { cluster } = deps;
  const { namespace, name } = mount.metadata;
  const before = await cluster.getMount({ namespace, name });
  if (before === undefined) return create(deps, mount);
  if (isOf(before, mount)) {
    const later = laterVersion(before, mount);
    return later === undefined ? writeMount(deps, before, mount) : { ...shown(before), later };
  }
  if (isLaterMount(deps, before, mount)) return { final: 'a later mount has its name' };
  if (before.metadata.deletionTimestamp !== undefined) {
    return { final: 'the object of another mount has its name and is being deleted: a finalizer keeps it' };
  }
  await cluster.deleteMount({ namespace, name }, { uid: before.metadata.uid ?? '' });
  return create(deps, mount);
}

/** One without a status was made for the same pod by a try that has not come further. */
function isOf({ spec, status }: DeviceMountObject, mount: DeviceMount): boolean {
  return status === undefined ? spec.podUid === mount.spec.podUid : status.mountUid === mount.metadata.uid;
}

/** Whatever the time is: versions of the same mount come from the same clock. */
function laterVersion({ status }: DeviceMountObject, { metadata }: DeviceMount): string | undefined {
  const version = Number(status?.version);
  return version > Number(metadata.resourceVersion) && version < LATEST_MS ? status?.version : undefined;
}

function isLaterMount({ now }: Dependencies, object: DeviceMountObject, mount: DeviceMount): boolean {
  const { version, mountUid } = object.status ?? {};
  const theirs = Number(version);
  const ours = Number(mount.metadata.resourceVersion);
  if (theirs > now().getTime() + CLOCK_SKEW_MS) return false;
  // Run ids begin with their time.
  return theirs > ours || (theirs === ours && mountUid !== undefined && mountUid > mount.metadata.uid);
}

async function create(deps: Dependencies, mount: DeviceMount): Promise<Projection> {
  const { namespace } = mount.metadata;
  const target = await deps.cluster.getPod({ namespace, name: mount.spec.podName });
  // The garbage collector would take it away again.
  if (target?.metadata?.uid !== mount.spec.podUid) return { final: 'its target is gone' };
  return made(deps, mount);
}

async function made(deps: Dependencies, mount: DeviceMount): Promise<ShownObject> {
  const about = { cluster: deps.clusterName, at: deps.now().toISOString() };
  return writeMount(deps, await deps.cluster.createMount(objectOf(mount, about)), mount);
}

/** Makes `before`, as it was read, show `mount`; what agrees already is not written. */
export async function writeMount(
  deps: Dependencies,
  before: DeviceMountObject,
  mount: DeviceMount,
): Promise<ShownObject> {
  const { cluster, clusterName } = deps;
  if (agrees(before, mount, clusterName)) return shown(before);
  const about = { cluster: clusterName, at: deps.now().toISOString() };
  const wanted = objectOf(mount, { ...about, before });
  const { labels, ownerReferences } = wanted.metadata;
  const whole = { ...before, metadata: { ...before.metadata, labels, ownerReferences }, spec: wanted.spec };
  const current = isDeepStrictEqual(whole, before) ? before : await cluster.replaceMount(whole);
  // The generation may be another by now.
  const { status } = objectOf(mount, { ...about, before: current });
  return shown(await cluster.replaceMountStatus({ ...current, ...(status !== undefined && { status }) }));
}

function shown({ metadata: { uid = '', resourceVersion = '' } }: DeviceMountObject): ShownObject {
  return { uid, resourceVersion };
}
