import type { V1Pod } from '@kubernetes/client-node';
import { type DeviceMount, withoutDevice } from '../contract/device-mount.ts';
import { isDeviceType } from '../contract/device-types.ts';
import { fail, nothingMounted } from '../contract/failures.ts';
import { ANNOTATIONS, GROUP_VERSION, SLAVE_LABELS } from '../contract/names.ts';
import { endsAtMs, isMeant, type Signed, type Target, type UnmountRequest } from '../contract/requests.ts';
import { verifiedRequest } from '../contract/signature.ts';
import type { Dependencies } from './dependencies.ts';
import { isOwnedBy, mountNameOf, SLAVE_SELECTOR } from './slave-pod.ts';

export interface FindMountsInput {
  readonly signed: Signed<UnmountRequest>;
}

export interface FoundMount {
  readonly mount: DeviceMount;
  /** Whether an open workflow owns it. */
  readonly owned: boolean;
  /** The mount goes on without this device. */
  readonly device?: string;
}

/**
 * The mounts that a request to unmount means: by the slaves of the target, and by open workflows, since a mount that
 * begins has no slave yet.
 * @throws InvalidSignature, Timeout, NothingMounted, BadRequest for a device that cannot go by itself
 */
export async function findMounts(deps: Dependencies, { signed }: FindMountsInput): Promise<readonly FoundMount[]> {
  const request = verifiedRequest(signed, deps);
  const { target } = request;
  checkCurrent(deps, request);
  const [slaves, open] = await Promise.all([slavesOf(deps, target), deps.owners.ofPod(target.namespace, target.pod)]);
  const names = request.mount === undefined ? new Set([...slaves.keys(), ...open]) : new Set([request.mount]);
  const found = await Promise.all([...names].map((name) => foundMount(deps, target, name, slaves.get(name) ?? [])));
  const meant = found.filter((each) => each !== undefined).filter(({ mount }) => isMeant(mount, request));
  if (meant.length === 0) throw nothingMounted(request);
  const { device } = request;
  if (device !== undefined) checkOneDevice(meant, device);
  return meant.map((each) => ({ ...each, ...partOf(each.mount, device) }));
}

/** @throws Timeout */
function checkCurrent({ now }: Dependencies, request: UnmountRequest): void {
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
async function slavesOf(deps: Dependencies, target: Target): Promise<Map<string, V1Pod[]>> {
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

async function foundMount(
  deps: Dependencies,
  target: Target,
  name: string,
  slaves: readonly V1Pod[],
): Promise<FoundMount | undefined> {
  const owner = await deps.owners.describe(target.namespace, name);
  // An owner without a record has not begun, which does not mean that nothing is mounted.
  const mount = owner?.open === true ? (owner.mount ?? (await deps.owners.ask(target.namespace, name))) : undefined;
  if (mount !== undefined) return { mount, owned: true };
  const [slave] = slaves;
  return slave && { mount: ownerless(name, slave, slaves), owned: false };
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
