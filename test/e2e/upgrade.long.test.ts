import { afterAll, beforeAll, describe, test } from '@jest/globals';
import { NODES } from './cluster.ts';
import { namespaceOf, rolledOut } from './daemon-sets.ts';
import { ask } from './kube.ts';
import { expectNothingMounted, startPod } from './pods.ts';
import { expectStanding, type Standing, startStanding, underStreams } from './stream.ts';
import { expectNoPods, removeTargets } from './targets.ts';

/** Everything that an upgrade replaces, in the order of the manifests. */
const PARTS = [
  ['deployments', 'device-mounter-apiserver'],
  ['deployments', 'device-mounter-control'],
  ['daemonsets', 'device-mounter-node'],
  ['daemonsets', 'hostdev-device-plugin'],
] as const;

let standing: readonly Standing[] = [];
let clients: readonly string[] = [];
beforeAll(async () => {
  const nodes = NODES.map(({ name }) => name);
  clients = await Promise.all([...nodes, ...nodes].map((node) => startPod(node)));
  standing = await startStanding();
});
afterAll(async () => {
  await removeTargets([...clients, ...standing.map(({ pod }) => pod)]);
  await expectNoPods();
});

async function restart(kind: string, name: string): Promise<void> {
  const annotations = { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() };
  await ask('PATCH', `/apis/apps/v1/namespaces/${namespaceOf(name)}/${kind}/${name}`, {
    spec: { template: { metadata: { annotations } } },
  });
}

describe('a rolling update under a stream of mounts and unmounts', () => {
  test.each(PARTS)('of %s/%s fails no request and loses no mount', async (kind, name) => {
    await underStreams(clients, async () => {
      await restart(kind, name);
      await rolledOut(kind, name);
    });
    await expectStanding(standing);
    for (const pod of clients) await expectNothingMounted(pod);
  });
});
