import { ApiException, CoreV1Api, type KubeConfig, Watch } from '@kubernetes/client-node';
import { fail } from '../../contract/failures.ts';
import { MANAGER, SLAVE_LABELS } from '../../contract/names.ts';
import { type PodView, podViewOf } from './pod-view.ts';

/** Reads pods from kube-apiserver itself. */
export interface PodReader {
  /** Undefined when there is none. @throws Internal when kube-apiserver does not answer */
  get(namespace: string, name: string): Promise<PodView | undefined>;
}

/** The slave pods of one node. */
export interface SlaveSource {
  list(): Promise<{ readonly pods: readonly PodView[]; readonly resourceVersion: string }>;
  /** Tells of each change after `resourceVersion` until it resolves, which it does when the watch has ended for any reason. */
  watch(resourceVersion: string, onChange: (pod: PodView, gone: boolean) => void, signal: AbortSignal): Promise<void>;
}

/** Long enough for a busy kube-apiserver, short enough to be tried again within a step. */
const READ_TIMEOUT_MS = 10_000;
const LABELS = `${SLAVE_LABELS.managedBy}=${MANAGER}`;

export function kubernetesPods(config: KubeConfig): PodReader {
  const core = config.makeApiClient(CoreV1Api);
  return {
    async get(namespace: string, name: string): Promise<PodView | undefined> {
      try {
        return podViewOf(await within(core.readNamespacedPod({ namespace, name })));
      } catch (err) {
        if (err instanceof ApiException && err.code === 404) return undefined;
        throw fail('Internal', `Cannot read pod "${namespace}/${name}": kube-apiserver does not answer`, err);
      }
    },
  };
}

export function kubernetesSlaves(config: KubeConfig, node: string): SlaveSource {
  const core = config.makeApiClient(CoreV1Api);
  const selectors = { labelSelector: LABELS, fieldSelector: `spec.nodeName=${node}` };
  return {
    async list(): Promise<{ pods: readonly PodView[]; resourceVersion: string }> {
      const { items, metadata } = await within(core.listPodForAllNamespaces(selectors));
      return { pods: items.map(podViewOf), resourceVersion: metadata?.resourceVersion ?? '' };
    },
    async watch(resourceVersion, onChange, signal): Promise<void> {
      const query = { ...selectors, resourceVersion, allowWatchBookmarks: true };
      const done = Promise.withResolvers<void>();
      const onLine = (type: string, pod: unknown): void => {
        if (type === 'ERROR') done.resolve();
        else if (type !== 'BOOKMARK') onChange(podViewOf(pod), type === 'DELETED');
      };
      const request = await new Watch(config).watch('/api/v1/pods', query, onLine, () => done.resolve());
      const abort = (): void => done.resolve();
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
      try {
        await done.promise;
      } finally {
        signal.removeEventListener('abort', abort);
        request.abort();
      }
    },
  };
}

/** client-node has no time-out of its own. The request goes on, unheard. */
async function within<T>(answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${READ_TIMEOUT_MS} ms`)), READ_TIMEOUT_MS);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
