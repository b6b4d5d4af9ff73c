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

  /** Those that could not be removed are tried again the next time: they would keep their devices from all tests after this one. */
  async remove(): Promise<void> {
    const pods = [...this.#pods];
    const removed = await Promise.allSettled(
      pods.map(async (pod) => {
        await removeTargets([pod]);
        this.#pods.splice(this.#pods.indexOf(pod), 1);
      }),
    );
    for (const one of removed) if (one.status === 'rejected') throw one.reason;
  }
}

/**
 * Removes target pods with all that they have been given, which the next test needs. A slave that the garbage collector deletes
 * with its target holds its devices for 25 s: so unmount first.
 */
export async function removeTargets(pods: readonly string[]): Promise<void> {
  await Promise.all(
    pods.map(async (pod) => {
      const { status } = await unmount(pod, '&force=1&wait_second=38');
      if (status === 200) await slavesGone(pod);
      await deletePod(pod);
      await slavesGone(pod);
    }),
  );
}

/** Proves that a file of tests has left no pod, neither of its own nor of the product. */
export async function expectNoPods(): Promise<void> {
  const { items } = await ask<{ items: { metadata: { name: string } }[] }>('GET', listPath(NAMESPACE, 'pods'));
  const names = items.map(({ metadata }) => metadata.name);
  if (names.length > 0) throw new Error(`Cannot go on: the tests have left ${names.join(', ')} in ${NAMESPACE}`);
}
