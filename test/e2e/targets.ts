import { ask, listPath } from './kube.ts';
import { NAMESPACE } from './lane.ts';
import { deletePod, slavesGone, startPod, unmount } from './pods.ts';

/** The target pods of a test, which go with all that they have been given. */
export class Targets {
  readonly #pods: string[] = [];

  /** Starts a busybox pod on `node`; answers its name when it is ready. */
  async start(node: string, spec: Readonly<Record<string, unknown>> = {}): Promise<string> {
    return this.add(await startPod(node, spec));
  }

  add(pod: string): string {
    this.#pods.push(pod);
    return pod;
  }

  /** The next test needs the devices. A slave that is deleted with its target holds them for 25 s: so unmount first. */
  async remove(): Promise<void> {
    const ended = this.#pods.splice(0);
    await Promise.all(
      ended.map(async (pod) => {
        await unmount(pod, '&force=1');
        await deletePod(pod);
      }),
    );
    await Promise.all(ended.map(slavesGone));
  }
}

/** Proves that a file of tests has left no pod, neither of its own nor of the product. */
export async function expectNoPods(): Promise<void> {
  const { items } = await ask<{ items: { metadata: { name: string } }[] }>('GET', listPath(NAMESPACE, 'pods'));
  const names = items.map(({ metadata }) => metadata.name);
  if (names.length > 0) throw new Error(`Cannot go on: the tests have left ${names.join(', ')} in ${NAMESPACE}`);
}
