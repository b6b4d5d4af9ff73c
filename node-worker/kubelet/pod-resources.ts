import { type Client, status } from '@grpc/grpc-js';
import { callOnce, loadService } from '../../proto/services.ts';
import { codeOf } from '../error-code.ts';

/** What the kubelet says of the devices of pods. It tells ids only, no device nodes. */
export interface PodResources {
  /** Ids by resource of a pod; undefined when the kubelet does not tell: it may be away, or not know the pod yet. */
  deviceIds(namespace: string, pod: string): Promise<ReadonlyMap<string, readonly string[]> | undefined>;
}

interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly containers: readonly {
    readonly devices: readonly { readonly resourceName: string; readonly deviceIds: readonly string[] }[];
  }[];
}

const LISTER = loadService('PodResourcesLister');
const CALL_MS = 2_000;

/**
 * The kubelet that `client` is connected to, by the v1 API (pkg/kubelet/apis/podresources). `Get` came with 1.27 and needs a
 * feature gate; where the kubelet refuses it, `List` answers the same for all pods of the node. A call ends after `callMs`.
 */
export function podResourcesOf(client: Client, callMs = CALL_MS): PodResources {
  const limits = { timeoutMs: callMs };
  const get = async (namespace: string, pod: string): Promise<Pod | undefined> => {
    const request = { podName: pod, podNamespace: namespace };
    const { podResources } = await callOnce<{ podResources: Pod | null }>(client, LISTER, 'Get', request, limits);
    return podResources ?? undefined;
  };
  const list = async (namespace: string, pod: string): Promise<Pod | undefined> => {
    const { podResources } = await callOnce<{ podResources: readonly Pod[] }>(client, LISTER, 'List', {}, limits);
    return podResources.find((other) => other.namespace === namespace && other.name === pod);
  };
  return {
    async deviceIds(namespace, pod) {
      try {
        return idsOf(await get(namespace, pod));
      } catch (err) {
        if (isAway(err)) return undefined;
      }
      try {
        return idsOf(await list(namespace, pod));
      } catch {
        return undefined;
      }
    },
  };
}

const isAway = (err: unknown): boolean =>
  [status.UNAVAILABLE, status.DEADLINE_EXCEEDED].some((code) => code === codeOf(err));

function idsOf(pod: Pod | undefined): ReadonlyMap<string, readonly string[]> | undefined {
  if (pod === undefined) return undefined;
  const ids = new Map<string, string[]>();
  for (const { resourceName, deviceIds } of pod.containers.flatMap(({ devices }) => devices)) {
    ids.set(resourceName, [...(ids.get(resourceName) ?? []), ...deviceIds]);
  }
  return ids;
}
