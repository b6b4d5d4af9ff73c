import { z } from 'zod';
import { fail } from '../../contract/failures.ts';
import { MANAGER, SLAVE_LABELS } from '../../contract/names.ts';
import type { KubeApi } from '../../process/kube-api.ts';
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

const LIST = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  items: z.array(z.unknown()).nullable(),
});

export function kubernetesPods(api: KubeApi): PodReader {
  return {
    async get(namespace: string, name: string): Promise<PodView | undefined> {
      try {
        const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
        const pod = await api.get(path);
        return pod === undefined ? undefined : podViewOf(pod);
      } catch (err) {
        throw fail('Internal', `Cannot read pod "${namespace}/${name}": kube-apiserver does not answer`, err);
      }
    },
  };
}

export function kubernetesSlaves(api: KubeApi, node: string): SlaveSource {
  const pathOf = (more: Readonly<Record<string, string>>): string => {
    const selectors = { labelSelector: `${SLAVE_LABELS.managedBy}=${MANAGER}`, fieldSelector: `spec.nodeName=${node}` };
    return `/api/v1/pods?${new URLSearchParams({ ...selectors, ...more }).toString()}`;
  };
  return {
    async list(): Promise<{ pods: readonly PodView[]; resourceVersion: string }> {
      const { items, metadata } = LIST.parse(await api.get(pathOf({})));
      return { pods: (items ?? []).map(podViewOf), resourceVersion: metadata.resourceVersion };
    },
    async watch(resourceVersion, onChange, signal): Promise<void> {
      const ended = new AbortController();
      await api.watch(
        pathOf({ watch: 'true', resourceVersion }),
        ({ type, object }) => {
          // The version is too old, or the server ends the watch: the next list starts anew.
          if (type === 'ERROR') ended.abort();
          else onChange(podViewOf(object), type === 'DELETED');
        },
        AbortSignal.any([signal, ended.signal]),
      );
    },
  };
}
