import { type PodView, podViewOf } from '../../../node-worker/cluster/pod-view.ts';
import type { PodReader, SlaveSource } from '../../../node-worker/cluster/pods.ts';

/** Pods as kube-apiserver would show them, read and watched by the product's own code. */
export class Pods {
  readonly #objects = new Map<string, object>();
  #watcher: ((pod: PodView, gone: boolean) => void) | undefined;
  /** While true, kube-apiserver is not reached: no read answers and no change is seen. */
  away = false;

  readonly reader: PodReader = {
    get: async (_namespace, name) => {
      const pod = this.#objects.get(name);
      return pod && podViewOf(pod);
    },
  };

  readonly slaves: SlaveSource = {
    list: async () => ({ pods: [...this.#objects.values()].map(podViewOf), resourceVersion: '1' }),
    watch: (_version, onChange, signal) => {
      this.#watcher = onChange;
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    },
  };

  /** A pod of `namespace/default` on this node; `status` as the kubelet reports it. */
  set(name: string, uid: string, status: object, more: object = {}): void {
    const metadata = { namespace: 'default', name, uid, ownerReferences: [{ uid: 'web-uid' }], ...more };
    const pod = { metadata, spec: { nodeName: 'n1' }, status };
    this.#objects.set(name, pod);
    if (!this.away) this.#watcher?.(podViewOf(pod), false);
  }
}
