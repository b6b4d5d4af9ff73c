import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { NODES } from './cluster.ts';
import { PRODUCT_NAMESPACE, rolledOut } from './daemon-sets.ts';
import { canOpen } from './exec.ts';
import { ask } from './kube.ts';
import { deviceMount, expectNothingMounted, FUSE, KMSG, mount, mountOk, startPod, unmount } from './pods.ts';
import { expectNoPods, removeTargets } from './targets.ts';

/** Everything that an upgrade replaces, in the order of the manifests. */
const PARTS = [
  ['deployments', 'device-mounter-apiserver'],
  ['deployments', 'device-mounter-control'],
  ['daemonsets', 'device-mounter-node'],
] as const;

/** As long as a client waits that knows of the upgrade. */
const PATIENT = '&wait_second=40';

interface Standing {
  readonly pod: string;
  readonly mount: string;
  readonly uid: string;
}

let standing: readonly Standing[] = [];
let clients: readonly string[] = [];
beforeAll(async () => {
  const nodes = NODES.map(({ name }) => name);
  clients = await Promise.all([...nodes, ...nodes].map((node) => startPod(node)));
  standing = await Promise.all(
    nodes.map(async (node) => {
      const pod = await startPod(node);
      const { metadata } = await mountOk(pod, FUSE, PATIENT);
      return { pod, mount: metadata.name, uid: metadata.uid };
    }),
  );
});
afterAll(async () => {
  await removeTargets([...clients, ...standing.map(({ pod }) => pod)]);
  await expectNoPods();
});

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

async function restart(kind: string, name: string): Promise<void> {
  const annotations = { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() };
  await ask('PATCH', `/apis/apps/v1/namespaces/${PRODUCT_NAMESPACE}/${kind}/${name}`, {
    spec: { template: { metadata: { annotations } } },
  });
}

describe('a rolling update under a stream of mounts and unmounts', () => {
  test.each(PARTS)('of %s/%s fails no request and loses no mount', async (kind, name) => {
    const ended = new AbortController();
    const streams = clients.map((pod) => stream(pod, ended.signal));
    await restart(kind, name);
    await rolledOut(kind, name).finally(() => ended.abort());
    const results = await Promise.all(streams);
    expect(results.flatMap(({ wrong }) => wrong)).toEqual([]);
    for (const { done } of results) expect(done).toBeGreaterThan(3);
    for (const { pod, mount, uid } of standing) {
      expect(await deviceMount(mount)).toMatchObject({ metadata: { uid }, status: { phase: 'Mounted' } });
      expect(await canOpen(pod, '/dev/fuse')).toBe(true);
    }
    for (const pod of clients) await expectNothingMounted(pod);
  });
});
