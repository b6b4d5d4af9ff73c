import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { TemporalMounts } from '../../apiserver/mounts/temporal-mounts.ts';
import type { NodeActivities } from '../../contract/node-activities.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { NodeTaskWorker } from '../../node-worker/temporal.ts';
import { ClusterClaim } from '../../process/cluster-claim.ts';
import type { ClusterIdentity } from '../../process/cluster-identity.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

/** As long as the name of the first one, so that an ID that is cut at a length shows. */
const NEXT: ClusterIdentity = { name: 'next', uid: 'uid-of-next' };

let first: Harness;
let next: Harness;
beforeAll(async () => {
  first = await Harness.start();
  next = await first.beside(NEXT);
});
afterAll(async () => {
  await next.leave();
  await first.stop();
});

/** Pods, mounts and even UIDs are the same in both clusters. */
const requestIn = ({ identity }: Harness, pod: string, more: Partial<MountRequest> = {}) =>
  signed(mountRequest(pod, { cluster: identity.name, user: { name: `jane of ${identity.name}` }, ...more }));
const unmountIn = ({ identity }: Harness, pod: string) => signed(unmountRequest(pod, { cluster: identity.name }));
const userIn = async (harness: Harness, name: string) =>
  (await harness.mounts().earlier(NAMESPACE, name))?.mount.status.user;

async function mountedInBoth(pod: string) {
  const nodes = await Promise.all([first, next].map((each) => each.addNode(pod, 1)));
  await Promise.all([first, next].map((each) => each.mount(requestIn(each, pod))));
  // Until then an owner writes its object.
  await Promise.all([first, next].map((each) => each.shows(`${pod}-m`)));
  return nodes;
}

async function unmountedInTurn(pod: string): Promise<void> {
  await first.unmount(unmountIn(first, pod));
  await first.handle(`${pod}-m`).result();
  expect([await first.statusOf(`${pod}-m`), await next.statusOf(`${pod}-m`)]).toEqual(['COMPLETED', 'RUNNING']);
  await next.unmount(unmountIn(next, pod));
  await next.handle(`${pod}-m`).result();
}

describe('two clusters in one namespace of Temporal, with pods and mounts of the same names', () => {
  test('mount, know and unmount each their own', async () => {
    const nodes = await mountedInBoth('web');
    expect(nodes.map(({ attached }) => attached.size)).toEqual([1, 1]);
    expect([await userIn(first, 'web-m'), await userIn(next, 'web-m')]).toEqual(['jane of test', 'jane of next']);
    await unmountedInTurn('web');
    expect(nodes.map((node) => [...first.leftOf('web', node), ...next.leftOf('web', node)])).toEqual([[], []]);
  });

  test('reconcile each their own, side by side', async () => {
    const nodes = await mountedInBoth('well');
    await next.handle('well-m').terminate('by hand');
    const [ofFirst, ofNext] = await Promise.all([first.reconcile(), next.reconcile()]);
    expect(ofFirst.findings).toEqual([]);
    expect(ofNext.findings).toMatchObject([
      { mount: 'well-m', action: 'free', done: true },
      { mount: 'well-m', action: 'project', done: true },
    ]);
    expect(nodes.map(({ attached }) => attached.size)).toEqual([1, 0]);
    await first.unmount(unmountIn(first, 'well'));
    // Its object shows the end then.
    await first.handle('well-m').result();
  });

  test('find each their own mounts again after Temporal has lost its database', async () => {
    const nodes = await mountedInBoth('lost');
    await first.loseTemporal(next);
    const reports = await Promise.all([first.reconcile(), next.reconcile()]);
    for (const { findings } of reports)
      expect(findings).toMatchObject([{ mount: 'lost-m', action: 'adopt', done: true }]);
    expect(
      (await Promise.all([first, next].map((each) => each.reconcile()))).flatMap(({ findings }) => findings),
    ).toEqual([]);
    expect(nodes.map(({ attached }) => attached.size)).toEqual([1, 1]);
    await unmountedInTurn('lost');
    expect(nodes.map(({ attached }) => attached.size)).toEqual([0, 0]);
  });

  test('begin nothing for a request that was signed for the other', async () => {
    await Promise.all([first, next].map((each) => each.addNode('strange', 1)));
    const wanted = requestIn(next, 'strange');
    const { workflowId } = next.handle('strange-m');
    const started = first.client.workflow.execute('mountDevices', {
      workflowId,
      taskQueue: first.queue,
      args: [wanted],
    });
    expect(await failureFrom(started)).toMatchObject({ type: 'InvalidSignature' });
    expect(first.cluster.slaves(NAMESPACE)).toEqual([]);
  });

  test('leave a mount of a former name alone', async () => {
    const node = await first.addNode('renamed', 1);
    const renamed = await first.beside({ name: 'renamed', uid: first.identity.uid }, first.cluster);
    try {
      const mount = await first.mount(requestIn(first, 'renamed'));
      expect((await renamed.reconcile()).findings).toMatchObject([
        { mount: mount.metadata.name, action: 'keep', why: expect.stringContaining('was called "test"') },
      ]);
      expect(node.attached.size).toBe(1);
      await first.unmount(unmountIn(first, 'renamed'));
    } finally {
      await renamed.leave();
    }
  });
});

const STRANGER = (name: string): ClusterIdentity => ({ name, uid: 'uid-of-stranger' });
const claimFor = (identity: ClusterIdentity): ClusterClaim =>
  new ClusterClaim(async () => identity, { connection: first.client.connection, namespace: 'default' });

const apiserverOf = (identity: ClusterIdentity) => new TemporalMounts(first.client, claimFor(identity));

function workerOf({ access, identity }: Harness, activities: NodeActivities): NodeTaskWorker {
  const log = pino({ enabled: false });
  return new NodeTaskWorker({ access, identity: async () => identity, node: 'over', activities, log, keepMs: 50 });
}

describe('the name of a cluster', () => {
  test('is refused to another cluster, which is told why and what to do', async () => {
    await expect(first.beside(STRANGER('test'))).rejects.toThrow(
      /^Cannot use cluster name "test": .* UID uid-of-test, .* UID uid-of-stranger\. Choose another --cluster-name/,
    );
    expect(await failureFrom(apiserverOf(STRANGER('test')).check())).toMatchObject({ type: 'TemporalUnavailable' });
  });

  test('goes to one of those who claim it at once, and to every process of that cluster', async () => {
    const claims = ['a', 'b', 'c', 'd'].map((uid) => claimFor({ name: 'wanted', uid }));
    const results = await Promise.allSettled(claims.map((claim) => claim.claim()));
    const winners = claims.filter((_claim, index) => results[index]?.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    await Promise.all(winners.map((claim) => claim.claim()));
  });

  test('is not claimed by node workers, which wait until it is', async () => {
    expect(await failureFrom(claimFor(STRANGER('free')).confirm())).toMatchObject({ type: 'TemporalUnavailable' });
  });

  test('is taken over by the command that the refusal tells, and the former cluster serves no more', async () => {
    const old = await first.beside({ name: 'old', uid: 'uid-of-old' });
    const node = await old.addNode('over', 1, false);
    const worker = workerOf(old, node.steps);
    try {
      worker.start();
      await eventually(() => worker.problem === undefined);
      const refusal: unknown = await claimFor(STRANGER('old'))
        .claim()
        .catch((err: unknown) => err);
      await first.server.run(String(refusal).replace(/^.*take the name over with: /, ''));
      await claimFor(STRANGER('old')).claim();
      await expect(claimFor(old.identity).claim()).rejects.toThrow('uid-of-stranger');
      await eventually(() => worker.problem?.includes('Cannot use cluster name "old"'));
      expect(await failureFrom(apiserverOf(old.identity).check())).toMatchObject({ type: 'TemporalUnavailable' });
      expect(node.attached.size).toBe(0);
    } finally {
      await worker.stop();
      await old.leave();
    }
  });
});
