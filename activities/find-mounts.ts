import type { V1Pod } from '@kubernetes/client-node';
import { type DeviceMount, withoutDevice } from '../contract/device-mount.ts';
import { type DeviceMountObject, OBJECT_LABELS } from '../contract/device-mount-object.ts';
import { isDeviceType } from '../contract/device-types.ts';
import { fail, nothingMounted } from '../contract/failures.ts';
import { ANNOTATIONS, GROUP_VERSION, SLAVE_LABELS } from '../contract/names.ts';
import { endsAtMs, isMeant, type Signed, type Target, type UnmountRequest } from '../contract/requests.ts';
import { type Verifier, verifiedRequest } from '../contract/signature.ts';
import { type Cluster, ClusterError } from './cluster.ts';
import { listedWithin } from './mount-objects.ts';
import type { Owners } from './owners.ts';
import { isOwnedBy, mountNameOf, SLAVE_SELECTOR } from './slave-pod.ts';

/** For a list that takes milliseconds. */
const LIST_MS = 2_000;

export interface FindMountsInput {
  readonly signed: Signed<UnmountRequest>;
}

/** What finding works with. */
export interface Finder extends Verifier {
  readonly cluster: Pick<Cluster, 'listPods' | 'listMounts'>;
  readonly owners: Pick<Owners, 'describe' | 'ask' | 'ofPod'>;
  readonly now: () => Date;
}

export interface FoundMount {
  readonly mount: DeviceMount;
  /** Whether an open workflow owns it. */
  readonly owned: boolean;
  /** The mount goes on without this device. */
  readonly device?: string;
  /** Of its object in kube-apiserver, where there is one. */
  readonly object?: { readonly uid: string; readonly resourceVersion: string };
}

/**
 * The mounts that a request to unmount means. Slaves and objects name them, as kube-apiserver has both at this moment;
 * what each mount is, its owner says.
 * @throws InvalidSignature, Timeout, NothingMounted, BadRequest for a device that cannot go by itself
 */
export async function findMounts(deps: Finder, { signed }: FindMountsInput): Promise<readonly FoundMount[]> {
  const request = verifiedRequest(signed, deps);
  checkCurrent(deps, request);
  const meant = await meantMounts(deps, request);
  if (meant.length === 0) throw nothingMounted(request);
  const { device } = request;
  if (device !== undefined) checkOneDevice(meant, device);
  return meant.map((each) => ({ ...each, ...partOf(each.mount, device) }));
}

async function meantMounts(deps: Finder, request: UnmountRequest): Promise<readonly FoundMount[]> {
  const { target } = request;
  const namesOne = request.mount !== undefined;
  // A name is enough to ask the owner: its object is not waited for.
  const [slaves, objects] = await Promise.all([slavesOf(deps, target), namesOne ? NONE : objectsOf(deps, target)]);
  const seenOf = (name: string): Seen => ({ slaves: slaves.get(name) ?? [], object: objects.byName.get(name) });
  const meantOf = async (names: Iterable<string>): Promise<readonly FoundMount[]> => {
    const found = await Promise.all([...names].map((name) => foundMount(deps, target, name, seenOf(name))));
    return found.filter((each) => each !== undefined).filter(({ mount }) => isMeant(mount, request));
  };
  if (request.mount !== undefined) return meantOf([request.mount]);
  const names = new Set([...slaves.keys(), ...objects.byName.keys()]);
  const meant = await meantOf(names);
  if (objects.failure === undefined && meant.length > 0) return meant;
  // A mount that has only just begun has neither slave nor object, and without the CRD none has an object.
  const hinted = new Set(await deps.owners.ofPod(target.namespace, target.pod));
  const all = [...meant, ...(await meantOf(hinted.difference(names)))];
  // Without the CRD there are none; from a kube-apiserver that is unwell nobody knows.
  if (all.length === 0 && objects.failure?.isClear === false) throw objects.failure;
  return all;
}

/** @throws Timeout */
function checkCurrent({ now }: Finder, request: UnmountRequest): void {
  if (now().getTime() <= endsAtMs(request)) return;
  const { target, requestedAt, deadlineSeconds } = request;
  const rule = `the request of ${requestedAt} was good for ${deadlineSeconds} s`;
  throw fail('Timeout', `Cannot unmount from "${target.pod}": ${rule}`);
}

/**
 * Ids are unique for a device plugin, which names them: another may have the same.
 * @throws BadRequest
 */
function checkOneDevice(meant: readonly FoundMount[], device: string): void {
  const having = meant.flatMap(({ mount: { metadata, status } }) =>
    status.devices.filter(({ id }) => id === device).map(({ resource }) => ({ resource, mount: metadata.name })),
  );
  if (new Set(having.map(({ resource }) => resource)).size <= 1) return;
  const which = having.map(({ resource, mount }) => `a ${resource} of mount "${mount}"`).join(' and ');
  throw fail(
    'BadRequest',
    `Cannot unmount only "${device}": several devices have that id, ${which}. Choose by "mount", or unmount all`,
  );
}

/**
 * Only whole slaves can be freed for others.
 * @throws BadRequest when the device's slave holds more
 */
function partOf({ metadata, status }: DeviceMount, device: string | undefined): { readonly device?: string } {
  if (device === undefined) return {};
  const left = withoutDevice(status, device);
  if (left.devices.length === 0) return {};
  if (left.slaves.length < status.slaves.length) return { device };
  const held = status.devices.map(({ id }) => id).join(', ');
  throw fail(
    'BadRequest',
    `Cannot unmount only "${device}": mount "${metadata.name}" must be made with "split" for that, has ${held} in one slave`,
  );
}

/** By the name of the mount. */
async function slavesOf(deps: Finder, target: Target): Promise<Map<string, V1Pod[]>> {
  const { items } = await deps.cluster.listPods(
    `${SLAVE_SELECTOR},${SLAVE_LABELS.ownerUid}=${target.podUid}`,
    target.namespace,
  );
  // Tenants can write labels; what the garbage collector acts on says whose a slave is.
  return Map.groupBy(
    items.filter((pod) => isOwnedBy(pod, target.podUid)),
    (pod) => mountNameOf(pod) ?? pod.metadata?.name ?? '',
  );
}

interface Objects {
  readonly byName: ReadonlyMap<string, DeviceMountObject>;
  /** Why they are not known. */
  readonly failure?: ClusterError;
}

const NONE: Objects = { byName: new Map() };

/** By the name of the mount. What is mounted can be unmounted without them, so that they are waited for only so long. */
async function objectsOf(deps: Finder, target: Target): Promise<Objects> {
  const labels = `${OBJECT_LABELS.targetUid}=${target.podUid}`;
  try {
    const items = await listedWithin(LIST_MS, deps.cluster, labels, target.namespace);
    const current = items.filter((object) => !hasEnded(object));
    return { byName: new Map(current.map((object) => [object.metadata.name, object])) };
  } catch (err) {
    if (err instanceof ClusterError) return { ...NONE, failure: err };
    throw err;
  }
}

/** Labels and status are written one after the other: it has ended when both say so. */
function hasEnded({ metadata, status }: DeviceMountObject): boolean {
  const phases: readonly (string | undefined)[] = [status?.phase, metadata.labels[OBJECT_LABELS.phase]];
  return phases.every((phase) => phase === 'Released' || phase === 'Failed');
}

/** What kube-apiserver has of a mount. */
interface Seen {
  readonly slaves: readonly V1Pod[];
  readonly object: DeviceMountObject | undefined;
}

async function foundMount(
  deps: Finder,
  target: Target,
  name: string,
  { slaves, object }: Seen,
): Promise<FoundMount | undefined> {
  const owner = await deps.owners.describe(target.namespace, name);
  // An owner without a record has not begun, which does not mean that nothing is mounted.
  const mount = owner?.open === true ? (owner.mount ?? (await deps.owners.ask(target.namespace, name))) : undefined;
  if (mount !== undefined) return { mount, owned: true, ...objectRefOf(mount, object) };
  const [slave] = slaves;
  return slave && { mount: ownerless(name, slave, slaves), owned: false };
}

/** An object of an earlier mount of that name is not meant. */
function objectRefOf({ metadata }: DeviceMount, object: DeviceMountObject | undefined): Pick<FoundMount, 'object'> {
  const { uid, resourceVersion } = object?.metadata ?? {};
  if (uid === undefined || resourceVersion === undefined || object?.status?.mountUid !== metadata.uid) return {};
  return { object: { uid, resourceVersion } };
}

/** What slaves without an owner tell of their mount. */
function ownerless(name: string, slave: V1Pod, slaves: readonly V1Pod[]): DeviceMount {
  const { namespace = '', labels = {}, annotations = {}, creationTimestamp, ownerReferences } = slave.metadata ?? {};
  const deviceType = annotations[ANNOTATIONS.deviceType] ?? '';
  const node = slave.spec?.nodeName;
  return {
    apiVersion: GROUP_VERSION,
    kind: 'DeviceMount',
    metadata: {
      name,
      namespace,
      uid: slave.metadata?.uid ?? '',
      creationTimestamp: new Date(creationTimestamp ?? 0).toISOString(),
      resourceVersion: '0',
    },
    spec: {
      podName: ownerReferences?.[0]?.name ?? '',
      podUid: labels[SLAVE_LABELS.ownerUid] ?? '',
      container: labels[SLAVE_LABELS.container] ?? '',
      deviceType: isDeviceType(deviceType) ? deviceType : 'GENERIC',
      resources: {},
      onRestart: 'release',
    },
    status: {
      phase: 'Mounted',
      user: annotations[ANNOTATIONS.user] ?? '',
      ...(node !== undefined && { node }),
      devices: [],
      slaves: slaves.map(({ metadata }) => ({ namespace, name: metadata?.name ?? '', uid: metadata?.uid ?? '' })),
    },
  };
}
