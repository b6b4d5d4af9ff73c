import type { V1Pod } from '@kubernetes/client-node';
import type { DeviceMount } from '../contract/device-mount.ts';
import { ANNOTATIONS, slaveIndex, slaveName } from '../contract/names.ts';
import { type Cluster, ClusterError } from './cluster.ts';
import type { TargetWatch } from './watch-targets.ts';

/** An item of the annotation that tells the target what it can use; a downward-API volume shows it inside the pod. */
interface AnnotatedDevice {
  readonly mount: string;
  readonly container: string;
  readonly type: string;
  readonly resource: string;
  readonly id: string;
  readonly slave?: string;
  /** Device nodes in the container. */
  readonly nodes: readonly string[];
}

/** At least one, all of the same pod. */
type Mounts = [DeviceMount, ...DeviceMount[]];

/** Mounts of one pod that wait for their turn together. */
interface Batch {
  readonly mounts: Mounts;
  readonly shown: Promise<void>;
}

/** Whoever else changes the pod, as the kubelet or another control worker, does it some times. */
const CONFLICTS = 10;

/**
 * The annotations that tell target pods their devices. What comes for a pod while its annotation is being changed is written together, next: alone,
 * each of many mounts would meet the changes of all others, and kube-apiserver takes one of these at a time.
 */
export class TargetAnnotations {
  readonly #cluster: Pick<Cluster, 'getPod' | 'mergePod'>;
  readonly #targets: Pick<TargetWatch, 'get'>;
  /** Both by the UID of the pod. */
  readonly #changing = new Map<string, Promise<void>>();
  readonly #waiting = new Map<string, Batch>();

  constructor(cluster: Pick<Cluster, 'getPod' | 'mergePod'>, targets: Pick<TargetWatch, 'get'>) {
    this.#cluster = cluster;
    this.#targets = targets;
  }

  /**
   * Makes the annotation of its target show `mount`. Nothing is done for a target that is gone.
   * @throws ClusterError
   */
  show(mount: DeviceMount): Promise<void> {
    const { podUid } = mount.spec;
    const waiting = this.#waiting.get(podUid);
    if (waiting !== undefined) {
      waiting.mounts.push(mount);
      return waiting.shown;
    }
    const mounts: Mounts = [mount];
    const shown = this.#showNext(mounts);
    this.#waiting.set(podUid, { mounts, shown });
    return shown;
  }

  async #showNext(mounts: Readonly<Mounts>): Promise<void> {
    const [{ spec }] = mounts;
    await this.#changing.get(spec.podUid)?.catch(() => undefined);
    this.#waiting.delete(spec.podUid);
    const changing = this.#change(mounts);
    this.#changing.set(spec.podUid, changing);
    try {
      await changing;
    } finally {
      if (this.#changing.get(spec.podUid) === changing) this.#changing.delete(spec.podUid);
    }
  }

  async #change(mounts: Readonly<Mounts>): Promise<void> {
    const [{ metadata, spec }] = mounts;
    const ref = { namespace: metadata.namespace, name: spec.podName };
    const isTarget = (pod: V1Pod | undefined): pod is V1Pod => pod?.metadata?.uid === spec.podUid;
    for (let attempt = 1; ; attempt++) {
      // What a watch has seen may be old: it can be changed, since kube-apiserver refuses a change of what is old, but not be left as it is.
      const seen = attempt === 1 ? this.#targets.get(ref) : undefined;
      const pod =
        isTarget(seen) && annotationPatch(seen, mounts) !== undefined ? seen : await this.#cluster.getPod(ref);
      const patch = isTarget(pod) ? annotationPatch(pod, mounts) : undefined;
      if (patch === undefined) return;
      try {
        await this.#cluster.mergePod(ref, patch);
        return;
      } catch (err) {
        const isOld = err instanceof ClusterError && (err.code === 409 || err.code === 404);
        if (!isOld || attempt === CONFLICTS) throw err;
      }
    }
  }
}

/** What brings the annotation of the pod up to date; `undefined` when it is. */
function annotationPatch({ metadata }: V1Pod, mounts: readonly DeviceMount[]): object | undefined {
  const before = metadata?.annotations?.[ANNOTATIONS.devices];
  const devices = mounts.reduce(withMount, parseAnnotation(before));
  const after = devices.length > 0 ? JSON.stringify(devices) : undefined;
  if (after === before) return undefined;
  // With the resource version, so that what somebody else has written meanwhile is not lost.
  const { resourceVersion } = metadata ?? {};
  return { metadata: { resourceVersion, annotations: { [ANNOTATIONS.devices]: after ?? null } } };
}

function withMount(devices: readonly AnnotatedDevice[], mount: DeviceMount): readonly AnnotatedDevice[] {
  return [...devices.filter((device) => !isOf(device, mount)), ...annotatedDevices(mount)];
}

/** Whether an entry is of the mount. The name alone says so while the mount lives; afterwards another may have it. */
function isOf({ mount, slave }: AnnotatedDevice, { metadata, spec, status }: DeviceMount): boolean {
  if (mount !== metadata.name) return false;
  if (status.phase === 'Mounted' || slave === undefined) return true;
  return slave === slaveName(spec.podName, metadata.uid, slaveIndex(slave));
}

function annotatedDevices({ metadata, spec, status }: DeviceMount): readonly AnnotatedDevice[] {
  if (status.phase !== 'Mounted') return [];
  return status.devices.map(({ id, resource, slave, nodes }) => ({
    mount: metadata.name,
    container: spec.container,
    type: spec.deviceType,
    resource,
    id,
    ...(slave !== undefined && { slave }),
    nodes: nodes.map(({ path }) => path),
  }));
}

function isAnnotated(item: Partial<AnnotatedDevice> | null): item is AnnotatedDevice {
  const texts = [item?.mount, item?.id, item?.resource, item?.slave ?? ''];
  const nodes: unknown = item?.nodes;
  const isList = Array.isArray(nodes) && nodes.every((path) => typeof path === 'string');
  return texts.every((text) => typeof text === 'string') && isList;
}

/** A tenant may have written anything there: what is not ours is dropped. */
export function parseAnnotation(text: string | undefined): readonly AnnotatedDevice[] {
  try {
    const value: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(value) ? value.filter(isAnnotated) : [];
  } catch {
    return [];
  }
}
