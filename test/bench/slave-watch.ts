import { type KubeConfig, type V1Pod, Watch } from '@kubernetes/client-node';
import { SLAVE_LABELS } from '../../contract/names.ts';
import { type SeenSlave, seenSlave } from './trace-spans.ts';

/** The slaves of one target in the namespace `default`, by a watch: asking again and again would load the kube-apiserver that is measured. */
export class SlaveWatch {
  readonly seen: SeenSlave[] = [];
  readonly #alive = new Set<string | undefined>();
  #stop: AbortController | undefined;
  #ended = false;
  #changed: () => void = () => undefined;

  /** Resolves once changes are heard of. It ends by itself when there is none for 30 s. */
  static async open(config: KubeConfig, target: string): Promise<SlaveWatch> {
    const slaves = new SlaveWatch();
    slaves.#stop = await new Watch(config).watch(
      '/api/v1/namespaces/default/pods',
      { labelSelector: `${SLAVE_LABELS.ownerName}=${target}` },
      (type, pod: V1Pod) => slaves.#hear(type, pod),
      () => slaves.#end(),
    );
    return slaves;
  }

  /** Waits until no slave is there any more. */
  gone(): Promise<void> {
    return this.#until('the slave to be gone', () => this.#alive.size === 0);
  }

  /** Waits until the containers of a slave run. */
  running(): Promise<void> {
    return this.#until('the slave to run', () => this.seen.some(({ isRunning }) => isRunning));
  }

  close(): void {
    this.#stop?.abort();
  }

  async #until(what: string, isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      if (this.#ended) throw new Error(`Cannot wait for ${what}: the watch has ended`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  #hear(type: string, pod: V1Pod): void {
    if (type === 'DELETED') this.#alive.delete(pod.metadata?.uid);
    else this.#alive.add(pod.metadata?.uid);
    this.seen.push(seenSlave(pod, Date.now()));
    this.#changed();
  }

  #end(): void {
    this.#ended = true;
    this.#changed();
  }
}
