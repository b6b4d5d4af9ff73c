import type { V1Pod } from '@kubernetes/client-node';
import type { DeviceMount, MountedDevice } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import { mountOfRequest } from '../contract/mount-of-request.ts';
import { ANNOTATIONS } from '../contract/names.ts';
import type { MountRequest, Signed, Target } from '../contract/requests.ts';
import { type Verifier, verifiedRequest } from '../contract/signature.ts';
import type { Dependencies } from './dependencies.ts';
import { hasSlaveLabels, isMadeBy, isOwnedBy, mountNameOf } from './slave-pod.ts';
import { endOf } from './target.ts';
import { parseAnnotation } from './target-annotations.ts';

export interface Adoption {
  readonly signed: Signed<MountRequest>;
  readonly mount: DeviceMount;
}

/**
 * What an owner of intact slaves is started with, or why they are not intact, as the end of a sentence. The slaves carry the
 * request, which the apiserver has signed, so that a tenant can make up none.
 */
export async function adoptionOf(
  deps: Dependencies,
  slaves: readonly V1Pod[],
  target: Target,
  name: string,
): Promise<Adoption | string> {
  const [slave] = slaves;
  const { annotations = {} } = slave?.metadata ?? {};
  const signed = parseSigned(annotations[ANNOTATIONS.request]);
  const mountUid = annotations[ANNOTATIONS.mountUid] ?? '';
  if (slave === undefined || signed === undefined || !isAuthentic(deps, signed)) return 'no signed request';
  const { request } = signed;
  if (request.name !== name || request.target.podUid !== target.podUid) return 'a request for another mount';
  if (!slaves.every((pod) => isMadeBy(pod, mountUid))) return 'names that are not of the mount';
  if (!slaves.every(({ status }) => status?.phase === 'Running')) return 'slaves that do not run';
  const pod = await deps.cluster.getPod({ namespace: target.namespace, name: target.pod });
  if (pod === undefined || endOf(pod, target.podUid) !== undefined) return 'a target that is gone';
  const devices = devicesIn(pod, name);
  const held = new Set(slaves.map(({ metadata }) => metadata?.name));
  if (devices.some(({ slave: holder }) => holder !== undefined && !held.has(holder))) return 'a slave that is gone';
  return { signed, mount: adoptedMount(deps, request, mountUid, slaves, devices) };
}

/**
 * What the target is told about a mount that has no owner any more and is freed: by the request that its slaves carry, when
 * that is authentic and theirs.
 */
export function orphanOf(
  deps: Dependencies,
  slaves: readonly V1Pod[],
  target: Target,
  name: string,
): Adoption | undefined {
  const { annotations = {} } = slaves[0]?.metadata ?? {};
  const signed = parseSigned(annotations[ANNOTATIONS.request]);
  if (signed === undefined || !isAuthentic(deps, signed)) return undefined;
  const { request } = signed;
  if (request.name !== name || request.target.podUid !== target.podUid) return undefined;
  const mount = adoptedMount(deps, request, annotations[ANNOTATIONS.mountUid] ?? '', slaves, []);
  return { signed, mount: { ...mount, status: { ...mount.status, phase: 'Failed', devices: [], slaves: [] } } };
}

/**
 * The cluster that authentic requests of slaves were signed for, when that is another one than this: then this one has been
 * renamed, or shares its key with another.
 */
export function otherClusterOf(deps: Dependencies, slaves: readonly V1Pod[]): string | undefined {
  const signed = parseSigned(slaves[0]?.metadata?.annotations?.[ANNOTATIONS.request]);
  const cluster = signed?.request.cluster;
  if (signed === undefined || cluster === undefined || cluster === deps.clusterName) return undefined;
  return isAuthentic({ ...deps, clusterName: cluster }, signed) ? cluster : undefined;
}

function parseSigned(text: string | undefined): Signed<MountRequest> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? 'null');
    const isObject = typeof value === 'object' && value !== null && 'request' in value && 'signature' in value;
    // Its signature says that it is what the apiserver wrote.
    return isObject ? (value as Signed<MountRequest>) : undefined;
  } catch {
    return undefined;
  }
}

function isAuthentic(verifier: Verifier, signed: Signed<MountRequest>): boolean {
  try {
    return verifiedRequest(signed, verifier, 'goOn').kind === 'mount';
  } catch {
    return false;
  }
}

/** By the target's annotation, which is for readers only; what is attached is known to the node. */
function devicesIn(target: V1Pod, name: string): readonly MountedDevice[] {
  return parseAnnotation(target.metadata?.annotations?.[ANNOTATIONS.devices])
    .filter(({ mount }) => mount === name)
    .map(({ id, resource, slave, nodes }) => ({
      id,
      resource,
      ...(slave !== undefined && { slave }),
      nodes: nodes.map((path) => ({ path })),
    }));
}

function adoptedMount(
  deps: Dependencies,
  request: MountRequest,
  uid: string,
  slaves: readonly V1Pod[],
  devices: readonly MountedDevice[],
): DeviceMount {
  const now = deps.now();
  const createdAt = new Date(slaves[0]?.metadata?.creationTimestamp ?? now).toISOString();
  const node = slaves[0]?.spec?.nodeName;
  const { target, leaseSeconds } = request;
  return mountOfRequest(
    request,
    { uid, creationTimestamp: createdAt, resourceVersion: String(now.getTime()) },
    {
      phase: 'Mounted',
      ...(node !== undefined && { node }),
      devices,
      slaves: slaves.map(({ metadata }) => ({
        namespace: target.namespace,
        name: metadata?.name ?? '',
        uid: metadata?.uid ?? '',
      })),
      mountedAt: createdAt,
      // When it was renewed is lost: a full lease, so that none ends too soon.
      ...(leaseSeconds !== undefined && {
        leaseEndsAt: new Date(now.getTime() + leaseSeconds * 1_000).toISOString(),
      }),
    },
  );
}

/**
 * Checks, for a workflow that was started as the owner of what is there already, that all of it was signed and is there:
 * whoever can start workflows could name the slaves of others.
 * @throws InvalidSignature, SlaveEnded
 */
export async function checkAdoption(deps: Dependencies, { signed, mount }: Adoption): Promise<void> {
  const { name, target } = verifiedRequest(signed, deps, 'goOn');
  const { metadata, spec, status } = mount;
  const same = metadata.name === name && metadata.namespace === target.namespace && spec.podUid === target.podUid;
  const refused = `Cannot adopt mount "${name}"`;
  if (!same || signed.request.kind !== 'mount') {
    throw fail('InvalidSignature', `${refused}: the signed request is for another`);
  }
  if (status.slaves.length === 0) throw fail('SlaveEnded', `${refused}: it has no slaves`);
  for (const { namespace, name: slave, uid } of status.slaves) {
    const pod = await deps.cluster.getPod({ namespace, name: slave });
    if (pod?.metadata?.uid !== uid) throw fail('SlaveEnded', `${refused}: its slave pod "${slave}" is gone`);
    const own = isOwnedBy(pod, target.podUid) && mountNameOf(pod) === name && isMadeBy(pod, metadata.uid);
    if (!own || !hasSlaveLabels(pod) || namespace !== target.namespace) {
      throw fail('InvalidSignature', `${refused}: slave pod "${slave}" was not made for it`);
    }
  }
}
