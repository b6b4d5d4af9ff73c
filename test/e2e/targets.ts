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
