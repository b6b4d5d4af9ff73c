import { expect } from '@jest/globals';
import { NODES } from './cluster.ts';
import { canOpen } from './exec.ts';
import { deviceMount, FUSE, KMSG, mount, mountOk, startPod, TUN, unmount } from './pods.ts';

/** As long as a client waits that knows of an upgrade. */
export const PATIENT = '&wait_second=40';

/** A mount that is to outlive what a test does. */
export interface Standing {
  readonly pod: string;
  readonly path: string;
  readonly mount: string;
  readonly uid: string;
}

/** One on each node, of what each node has once. */
export function startStanding(path: '/dev/fuse' | '/dev/net/tun' = '/dev/fuse'): Promise<readonly Standing[]> {
  return Promise.all(
    NODES.map(async ({ name: node }) => {
      const pod = await startPod(node);
      const { metadata } = await mountOk(pod, path === '/dev/fuse' ? FUSE : TUN, PATIENT);
      return { pod, path, mount: metadata.name, uid: metadata.uid };
    }),
  );
}

export async function expectStanding(all: readonly Standing[]): Promise<void> {
  for (const { pod, path, mount: name, uid } of all) {
    expect(await deviceMount(name)).toMatchObject({ metadata: { uid }, status: { phase: 'Mounted' } });
    expect(await canOpen(pod, path)).toBe(true);
  }
}

/** Mounts and unmounts in `pod` without a pause until `signal`. Answers how often, and each answer that was not 200. */
async function stream(pod: string, signal: AbortSignal): Promise<{ readonly done: number; readonly wrong: unknown[] }> {
  const wrong: unknown[] = [];
  let done = 0;
  while (!signal.aborted) {
    for (const answer of [await mount(pod, KMSG, PATIENT), await unmount(pod, PATIENT)])
      if (answer.status === 200) done += 1;
      else wrong.push(answer);
  }
  return { done, wrong };
}

/** Does something while each of `pods` gets a device and gives it back, again and again: no request may fail, and each pod gets its turns. */
export async function underStreams(pods: readonly string[], change: () => Promise<unknown>): Promise<void> {
  const ended = new AbortController();
  const streams = pods.map((pod) => stream(pod, ended.signal));
  await change().finally(() => ended.abort());
  const results = await Promise.all(streams);
  expect(results.flatMap(({ wrong }) => wrong)).toEqual([]);
  for (const { done } of results) expect(done).toBeGreaterThan(3);
}
