import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { controlQueue, mountWorkflowId, nodeQueue, slaveName } from '../../contract/names.ts';
import { WORKFLOWS } from '../../contract/workflows.ts';
import { attach } from '../../node-worker/steps/attach.ts';
import { createNodeActivities } from '../../node-worker/steps/node-activities.ts';
import {
  attachInput,
  inTime,
  MemoryNode as RealNode,
  unmountRequest as unmounting,
} from '../node-worker/memory-node.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import {
  CLUSTER,
  forged,
  longAgo,
  mountRequest,
  NAMESPACE,
  PUBLIC_KEY,
  reservationOf,
  signed,
  unmountRequest,
} from './requests.ts';

let harness: Harness;
const realNodes: RealNode[] = [];
afterEach(() => realNodes.splice(0).forEach((node) => node.remove()));
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

/** Has the queue of a node served by the product's own steps, over a kernel in memory. */
async function startRealSteps(pod: string): Promise<RealNode> {
  const real = await RealNode.make();
  realNodes.push(real);
  real.publicKeys = [...real.publicKeys, { key: PUBLIC_KEY }];
  real.addPod({ name: pod, uid: `uid-${pod}`, ownerUids: [] });
  await harness.startNode(pod, createNodeActivities(real.deps));
  return real;
}

/** A control activity or one of the node of `pod`, run by a workflow of any ID. */
async function attack(activity: string, pod: string, input: unknown, workflowId = `attack/${pod}/${activity}`) {
  const isNode = activity === 'attachDevices' || activity === 'detachDevices';
  return failureFrom(
    harness.attack(workflowId, isNode ? nodeQueue(CLUSTER, pod) : controlQueue(CLUSTER), activity, input),
  );
}

describe('whoever can do everything with Temporal', () => {
  test('cannot use a request again whose mount has ended', async () => {
    const node = await harness.addNode('replay', 1);
    const request = signed(mountRequest('replay'));
    await harness.mount(request);
    await harness.unmount(signed(unmountRequest('replay')));
    await harness.handle('replay-m').result();
    expect(await failureFrom(harness.mount(request))).toMatchObject({ type: 'MountEnded' });
    await eventually(async () => (await harness.statusOf('replay-m')) === 'FAILED');
    await harness.stopControl();
    await harness.startControl();
    expect(await failureFrom(harness.mount(request))).toMatchObject({ type: 'MountEnded' });
    await eventually(async () => (await harness.statusOf('replay-m')) === 'FAILED');
    expect(harness.leftOf('replay', node)).toEqual([]);
    expect((await harness.mount(signed(mountRequest('replay')))).status.phase).toBe('Mounted');
  });

  test.each([
    ['unsigned', 'hand-a', (pod: string) => ({ request: mountRequest(pod), signature: '' })],
    ['signed by itself', 'hand-b', (pod: string) => forged(mountRequest(pod))],
    [
      'altered',
      'hand-c',
      (pod: string) => ({ ...signed(mountRequest(pod)), request: mountRequest(pod, { queue: true }) }),
    ],
    ['signed for another workflow', 'hand-d', (pod: string) => signed(mountRequest(pod))],
  ])('makes nothing of a request that is %s', async (_name, pod, make) => {
    const node = await harness.addNode(pod, 1, false);
    const real = await startRealSteps(pod);
    const request = make(pod);
    const input = reservationOf(request);
    const slave = { namespace: NAMESPACE, name: slaveName(pod, input.mountUid, 0), uid: crypto.randomUUID() };
    const { type } = await attack('reserveDevices', pod, input);
    expect(type).toBe(pod === 'hand-d' ? 'Forbidden' : 'InvalidSignature');
    const attach = await attack('attachDevices', pod, { signed: request, slaves: [slave] });
    expect(attach.type).toBe(pod === 'hand-d' ? 'SlaveEnded' : 'InvalidSignature');
    expect(harness.leftOf(pod, node)).toEqual([]);
    expect(real.deps.store.records()).toEqual([]);
  });

  test.each([
    ['unsigned, without its slaves', 'real-a', () => ({ slaves: [] })],
    ['signed by itself', 'real-b', () => ({ signed: forged(unmountRequest('real-b')) })],
    ['altered', 'real-c', () => ({ signed: { ...unmounting(), request: { ...unmounting().request, force: true } } })],
  ])('takes nothing from a node by a detach that is %s', async (_name, pod, change) => {
    await harness.addNode(pod, 1, false);
    const real = await startRealSteps(pod);
    const slave = real.addSlave('s1');
    await attach(real.deps, attachInput(slave), { signal: inTime() });
    const [before] = real.deps.store.records();
    expect(before?.phase).toBe('attached');
    const detach = { mounts: [before?.mount], slaves: [slave], force: true, ...change() };
    const { type } = await attack('detachDevices', pod, detach);
    expect(type).toBe(pod === 'real-a' ? 'none' : 'InvalidSignature');
    expect(real.deps.store.records()).toEqual([before]);
  });

  test('ends nothing that is not its own', async () => {
    const node = await harness.addNode('prey', 1);
    const { status, ...mount } = await harness.mount(signed(mountRequest('prey')));
    const [slave] = status.slaves;
    const input = { namespace: NAMESPACE, name: slave?.name, mount: 'prey-m', targetUid: 'uid-prey' };
    expect(await attack('deleteSlave', 'prey', input)).toMatchObject({ type: 'Forbidden' });
    const stolen = forged(unmountRequest('prey'));
    expect(await attack('deleteSlave', 'prey', { ...input, signed: stolen }, 'attack/2')).toMatchObject({
      type: 'InvalidSignature',
    });
    const elsewhere = signed(unmountRequest('other'));
    expect(await attack('deleteSlave', 'prey', { ...input, signed: elsewhere }, 'attack/3')).toMatchObject({
      type: 'Forbidden',
    });
    expect(await attack('findMounts', 'prey', { signed: stolen })).toMatchObject({ type: 'InvalidSignature' });
    const late = signed(unmountRequest('prey', { requestedAt: longAgo() }));
    expect(await failureFrom(harness.unmount(late))).toMatchObject({ type: 'Timeout' });
    const told = { mount: { ...mount, status }, events: [{ type: 'Normal', reason: 'X', message: 'x' }] };
    expect(await attack('publish', 'prey', { ...told, signed: forged(mountRequest('prey')) })).toMatchObject({
      type: 'InvalidSignature',
    });
    const other = { ...told.mount, spec: { ...mount.spec, podName: 'other' } };
    expect(
      await attack('publish', 'prey', { ...told, mount: other, signed: signed(mountRequest('prey')) }, 'attack/4'),
    ).toMatchObject({ type: 'InvalidSignature' });
    expect(harness.leftOf('prey', node)).toHaveLength(2);
  });

  test('cannot make a slave of a mount that is not its own, of a request that still counts', async () => {
    const node = await harness.addNode('more', 4);
    const request = signed(mountRequest('more'));
    // The one workflow that may ask is its own, which it can be.
    const workflowId = mountWorkflowId(CLUSTER, NAMESPACE, 'more-m');
    const input = reservationOf(request);
    expect(await attack('reserveDevices', 'more', input, workflowId)).toMatchObject({ type: 'Forbidden' });
    const { mount } = reservationOf(signed(mountRequest('more', { name: 'another' })));
    expect(await attack('reserveDevices', 'more', { ...input, mount }, workflowId)).toMatchObject({
      type: 'InvalidSignature',
    });
    expect(harness.leftOf('more', node)).toEqual([]);
  });

  test.each([
    ['no slaves', 'name-a', undefined],
    ['the slaves of an earlier mount', 'name-b', '00000000-0000-4000-8000-000000000000'],
  ])('detaches nothing by the name of a mount and %s', async (_name, pod, uid) => {
    const node = await harness.addNode(pod, 1);
    const { status } = await harness.mount(signed(mountRequest(pod)));
    const slaves = uid === undefined ? [] : status.slaves.map((slave) => ({ ...slave, uid }));
    const mounts = [{ namespace: NAMESPACE, name: `${pod}-m` }];
    await harness.attack(`attack/${pod}/detach`, nodeQueue(CLUSTER, pod), 'detachDevices', {
      mounts,
      slaves,
      force: true,
    });
    expect(node.attached.size).toBe(1);
  });

  test('cannot have a mount adopted that is not there', async () => {
    const node = await harness.addNode('adopted', 1);
    await harness.mount(signed(mountRequest('adopted')));
    const { status, ...mount } = await harness.recordOf('adopted-m');
    const request = mountRequest('adopted', { name: 'thief' });
    const start = (name: string, args: unknown[]) =>
      failureFrom(
        harness.client.workflow.execute(WORKFLOWS.mount, {
          workflowId: mountWorkflowId(CLUSTER, NAMESPACE, name),
          taskQueue: controlQueue(CLUSTER),
          args,
        }),
      );
    const carried = { ...mount, metadata: { ...mount.metadata, name: 'thief' }, status };
    expect(await start('thief', [forged(request), carried])).toMatchObject({ type: 'InvalidSignature' });
    expect(await start('thief', [signed(request), carried])).toMatchObject({ type: 'InvalidSignature' });
    expect(await start('thief', [signed(request), { ...mount, status }])).toMatchObject({ type: 'InvalidSignature' });
    expect(await start('other', [signed(request)])).toMatchObject({ type: 'BadRequest' });
    expect(harness.leftOf('adopted', node)).toHaveLength(2);
  });
});
