import {
  ApiException,
  CoordinationV1Api,
  CoreV1Api,
  type CoreV1Event,
  CustomObjectsApi,
  type KubeConfig,
  PatchStrategy,
  ResourceV1Api,
  setHeaderOptions,
  type V1Lease,
  type V1Node,
  type V1Pod,
  Watch,
} from '@kubernetes/client-node';
import type { ClaimReference } from '../contract/claims.ts';
import { type DeviceMountObject, OBJECT_VERSION } from '../contract/device-mount-object.ts';
import { API_GROUP } from '../contract/names.ts';
import { apiClient } from '../process/kubernetes.ts';
import {
  type Cluster,
  ClusterError,
  type MountPreconditions,
  type MountRef,
  type PodEvent,
  type PodRef,
} from './cluster.ts';

const FIELD_MANAGER = 'device-mounter';
const MOUNTS = { group: API_GROUP, version: OBJECT_VERSION, plural: 'devicemounts' } as const;
/** Objects in one answer to a list, and in one of those that are held while their mounts are looked at. */
const LIST_LIMIT = 500;
const PAGE_LIMIT = 200;
/** Pods are listed in one answer, however many: kube-apiserver itself gives up after this time. */
const LIST_MS = 60_000;

/**
 * The cluster of `config`.
 * @param callMs how long an answer that is no list of pods may take, if not as long as that of any client of ours
 */
export function kubernetesCluster(config: KubeConfig, callMs?: number): Cluster {
  const core = apiClient(config, CoreV1Api, callMs);
  const lists = apiClient(config, CoreV1Api, LIST_MS);
  const coordination = apiClient(config, CoordinationV1Api, callMs);
  const resources = apiClient(config, ResourceV1Api, callMs);
  return {
    getPod: (ref: PodRef): Promise<V1Pod | undefined> => found(core.readNamespacedPod(ref)),
    getNode: (name: string): Promise<V1Node | undefined> => found(core.readNode({ name })),
    getLease: (namespace: string, name: string): Promise<V1Lease | undefined> =>
      found(coordination.readNamespacedLease({ namespace, name })),
    async hasClaim(namespace: string, claim: ClaimReference): Promise<boolean> {
      const { resourceClaimName, resourceClaimTemplateName: template } = claim;
      const read =
        resourceClaimName === undefined
          ? resources.readNamespacedResourceClaimTemplate({ namespace, name: template ?? '' })
          : resources.readNamespacedResourceClaim({ namespace, name: resourceClaimName });
      return (await found<object>(read)) !== undefined;
    },
    createPod: (namespace: string, body: V1Pod): Promise<V1Pod> =>
      answered(core.createNamespacedPod({ namespace, body, fieldManager: FIELD_MANAGER })),
    deletePod: (ref: PodRef, uid: string, graceSeconds: number): Promise<void> =>
      gone(core.deleteNamespacedPod({ ...ref, body: { gracePeriodSeconds: graceSeconds, preconditions: { uid } } })),
    async mergePod(ref: PodRef, body: object): Promise<void> {
      const options = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
      await answered(core.patchNamespacedPod({ ...ref, body, fieldManager: FIELD_MANAGER }, options));
    },
    async listPods(
      labelSelector: string,
      namespace?: string,
    ): Promise<{ items: readonly V1Pod[]; resourceVersion: string }> {
      const list = await answered(
        namespace === undefined
          ? lists.listPodForAllNamespaces({ labelSelector })
          : lists.listNamespacedPod({ namespace, labelSelector }),
      );
      return { items: list.items, resourceVersion: list.metadata?.resourceVersion ?? '' };
    },
    async podsOn(node: string): Promise<readonly V1Pod[]> {
      return (await answered(lists.listPodForAllNamespaces({ fieldSelector: `spec.nodeName=${node}` }))).items;
    },
    watchPods: (
      labels: string,
      resourceVersion: string,
      signal: AbortSignal,
      namespace?: string,
    ): AsyncIterable<PodEvent> => {
      const path = namespace === undefined ? '/api/v1/pods' : `/api/v1/namespaces/${namespace}/pods`;
      return podEvents(config, path, { labelSelector: labels, resourceVersion }, signal);
    },
    async createEvent(namespace: string, body: CoreV1Event): Promise<void> {
      await answered(core.createNamespacedEvent({ namespace, body, fieldManager: FIELD_MANAGER }));
    },
    ...mountObjects(apiClient(config, CustomObjectsApi, callMs)),
  };
}

type MountObjects = Pick<Cluster, Extract<keyof Cluster, `${string}Mount${string}`>>;

/** client-node knows no types of custom resources; the CustomResourceDefinition sees to what they are. */
function mountObjects(custom: CustomObjectsApi): MountObjects {
  return {
    getMount: (ref: MountRef): Promise<DeviceMountObject | undefined> =>
      found(custom.getNamespacedCustomObject({ ...MOUNTS, ...ref })),
    async listMounts(labels: string, namespace?: string): Promise<{ items: readonly DeviceMountObject[] }> {
      const items: DeviceMountObject[] = [];
      let next = '';
      do {
        const page = await pageOf(custom, next, LIST_LIMIT, labels, namespace);
        items.push(...page.items);
        next = page.metadata.continue ?? '';
      } while (next !== '');
      return { items };
    },
    async pageOfMounts(next: string): Promise<{ items: readonly DeviceMountObject[]; next: string }> {
      const { items, metadata } = await pageOf(custom, next, PAGE_LIMIT);
      return { items: items.map(bare), next: metadata.continue ?? '' };
    },
    createMount: (object: DeviceMountObject): Promise<DeviceMountObject> =>
      answered(custom.createNamespacedCustomObject(written(object))),
    replaceMount: (object: DeviceMountObject): Promise<DeviceMountObject> =>
      answered(custom.replaceNamespacedCustomObject(written(unmanaged(object)))),
    replaceMountStatus: (object: DeviceMountObject): Promise<DeviceMountObject> =>
      answered(custom.replaceNamespacedCustomObjectStatus(written(object))),
    deleteMount: (ref: MountRef, preconditions: MountPreconditions): Promise<void> =>
      gone(custom.deleteNamespacedCustomObject({ ...MOUNTS, ...ref, body: { preconditions } })),
  };
}

async function pageOf(
  custom: CustomObjectsApi,
  next: string,
  limit: number,
  labelSelector = '',
  namespace?: string,
): Promise<MountList> {
  const page = { labelSelector, limit, ...(next !== '' && { _continue: next }) };
  try {
    return await answered<MountList>(
      namespace === undefined
        ? custom.listCustomObjectForAllNamespaces({ ...MOUNTS, resourcePlural: MOUNTS.plural, ...page })
        : custom.listNamespacedCustomObject({ ...MOUNTS, namespace, ...page }),
    );
  } catch (err) {
    const isTooOld = err instanceof ClusterError && err.code === 410 && err.next !== '' && err.next !== next;
    if (isTooOld) return pageOf(custom, err.next, limit, labelSelector, namespace);
    throw err;
  }
}

function bare(object: DeviceMountObject): DeviceMountObject {
  const { annotations: _annotations, managedFields: _fields, ...metadata } = object.metadata as WholeMetadata;
  return { ...object, metadata };
}

type WholeMetadata = DeviceMountObject['metadata'] & {
  readonly annotations?: object;
  readonly managedFields?: readonly object[];
};

function written(body: DeviceMountObject) {
  const { namespace, name } = body.metadata;
  return { ...MOUNTS, namespace, name, body, fieldManager: FIELD_MANAGER };
}

/**
 * Has kube-apiserver forget who wrote which field, until the next PUT but of the status. There is one writer only, and of a large list kubectl
 * spends most of its time on that.
 */
function unmanaged(object: DeviceMountObject): DeviceMountObject {
  const metadata = { ...object.metadata, managedFields: [{}] };
  return { ...object, metadata };
}

interface MountList {
  readonly metadata: { readonly continue?: string };
  readonly items: readonly DeviceMountObject[];
}

/** One that is not there, or is another than was meant, is as good as deleted. */
async function gone(answer: Promise<unknown>): Promise<void> {
  try {
    await answered(answer);
  } catch (err) {
    if (!(err instanceof ClusterError) || (err.code !== 404 && err.code !== 409)) throw err;
  }
}

async function found<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answered(answer);
  } catch (err) {
    if (err instanceof ClusterError && err.code === 404) return undefined;
    throw err;
  }
}

async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (err) {
    if (err instanceof ApiException) throw clusterErrorOf(err.code, err.body);
    throw new ClusterError(0, '', `it does not answer (${reasonOf(err)})`);
  }
}

/** fetch() itself says no more than "fetch failed". */
function reasonOf(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  return err.cause instanceof Error ? err.cause.message : err.message;
}

interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly metadata?: { readonly continue?: string };
  readonly details?: { readonly causes?: readonly { readonly reason?: string }[] };
}

/** `body` is a `metav1.Status`, which client-node 2.0.1 hands out as text where the code is not in the API's description. */
function clusterErrorOf(code: number, body: unknown): ClusterError {
  const status = statusOf(body);
  const causes = (status.details?.causes ?? []).map((cause) => cause.reason ?? '');
  const message = status.message ?? `kube-apiserver answered ${code}`;
  return new ClusterError(code, status.reason ?? '', message, causes, status.metadata?.continue);
}

function statusOf(body: unknown): Status {
  if (typeof body === 'object' && body !== null) return body;
  try {
    return JSON.parse(String(body)) as Status;
  } catch {
    return { message: String(body).slice(0, 1_000) };
  }
}

/** client-node's watch tells only the code of an answer that is not a success. */
function refusalOf(err: Error): Error {
  const code = 'statusCode' in err ? Number(err.statusCode) : undefined;
  return code === undefined ? err : new ClusterError(code, '', `kube-apiserver answered ${code} to a watch`);
}

type WatchLine = PodEvent | { readonly type: 'ERROR'; readonly pod: Status };

async function* podEvents(
  config: KubeConfig,
  path: string,
  query: { readonly labelSelector: string; readonly resourceVersion: string },
  signal: AbortSignal,
): AsyncIterable<PodEvent> {
  const lines: WatchLine[] = [];
  const wake = { up: (): void => undefined };
  let ended: { readonly error: unknown } | undefined;
  const end = (error: unknown): void => {
    ended ??= { error };
    wake.up();
  };
  const onLine = (type: string, pod: unknown): void => {
    lines.push({ type, pod } as WatchLine);
    wake.up();
  };
  const request = await new Watch(config).watch(path, { ...query, allowWatchBookmarks: true }, onLine, end);
  const abort = (): void => {
    request.abort();
    end(null);
  };
  signal.addEventListener('abort', abort);
  try {
    if (signal.aborted) abort();
    for (;;) {
      for (let line = lines.shift(); line !== undefined; line = lines.shift()) {
        if (line.type === 'ERROR') throw clusterErrorOf(line.pod.code ?? 500, line.pod);
        yield line;
      }
      if (ended !== undefined) break;
      await new Promise<void>((resolve) => {
        wake.up = resolve;
      });
    }
    if (ended.error instanceof Error && !signal.aborted) throw refusalOf(ended.error);
  } finally {
    signal.removeEventListener('abort', abort);
    request.abort();
  }
}
