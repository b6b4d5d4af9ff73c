import type { DeviceNode } from '../../node-worker/kernel/engine.ts';

/** Devices every Linux machine has and that may be opened without harm. */
export const FUSE: DeviceNode = { path: '/dev/fuse', type: 'c', major: 10, minor: 229, access: 'rw', mode: 0o666, uid: 0, gid: 0 };

/** Polls a condition of the kernel's, which nothing announces. Throws with the last value after 10 s. */
export async function until<T>(look: () => T, holds: (value: T) => boolean): Promise<T> {
  const end = performance.now() + 10_000;
  for (;;) {
    const value = look();
    if (holds(value)) return value;
    if (performance.now() > end) throw new Error(`waited 10 s in vain, last: ${JSON.stringify(value)}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}
