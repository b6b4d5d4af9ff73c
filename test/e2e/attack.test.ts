import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { mountWorkflowId, nodeQueue, slaveName, unmountWorkflowId } from '../../contract/names.ts';
import type { MountRequest, Signed, UnmountRequest } from '../../contract/requests.ts';
import { WORKFLOWS } from '../../contract/workflows.ts';
import { CLUSTER_NAME } from '../../deploy/local/addresses.ts';
import { reservationOf } from '../workflows/requests.ts';
import { Attacker, forged } from './attacker.ts';
import { type DeviceState, deviceState } from './device-state.ts';
import { Ends } from './ended.ts';
import { holdOpen, inPod } from './exec.ts';
import { nodeAt } from './nodes.ts';
import { eventsOf, FUSE, mountOk, slavesOf, TUN, unmount } from './pods.ts';
import { expectNoPods } from './targets.ts';

const all = new Ends();
const node = nodeAt(0).name;
let attacker: Attacker;
/** Has a mount that is open, and a process that uses it. */
let victim: {
  readonly pod: string;
  readonly mounted: DeviceMount;
  readonly state: DeviceState;
  readonly holder: string;
};
/** What the attacker wants a device in. */
let prize: { readonly pod: string; readonly uid: string; readonly state: DeviceState };
/** Signed for the victim, whose mount is open; and for the prize, whose mount has ended. */
let open: Signed<MountRequest>;
let ended: Signed<MountRequest>;

beforeAll(async () => {
  attacker = await Attacker.start(all.temporal.client);
  const [pod, other] = [await all.target(node), await all.target(node)];
  const before = await deviceState(other);
  const last = await mountOk(other, TUN);
  ended = await attacker.stolenRequest(last.metadata.name);
  expect((await unmount(other)).status).toBe(200);
  await all.temporal.closed(last.metadata.name);
  prize = { pod: other, uid: last.spec.podUid, state: before };
  const { name } = (await mountOk(pod, FUSE)).metadata;
  open = await attacker.stolenRequest(name);
  // With the UID that its slaves carry: the answer has that of the object.
  const mounted = (await all.temporal.workflowOf(name))?.mount;
  if (mounted === undefined) throw new Error(`Cannot attack ${name}: it has no workflow`);
  const holder = await holdOpen(pod, '/dev/fuse');
  victim = { pod, mounted, state: await deviceState(pod), holder };
});
afterAll(async () => {
  await all.deletePods();
  await attacker.stop();
  await all.stop();
  await expectNoPods();
});

/** Nothing was created, attached or killed, and nothing was taken from the victim. */
async function expectNothingDone(): Promise<void> {
  expect(await slavesOf(prize.pod)).toEqual([]);
  expect(await deviceState(prize.pod)).toEqual(prize.state);
  expect(await slavesOf(victim.pod)).toEqual(victim.mounted.status.slaves.map(({ name }) => name));
  expect(await deviceState(victim.pod)).toEqual(victim.state);
  expect((await inPod(victim.pod, `kill -0 ${victim.holder}`)).code).toBe(0);
  expect((await all.temporal.workflowOf(victim.mounted.metadata.name))?.status).toBe('RUNNING');
}

const now = (): string => new Date().toISOString();
const forPrize = (): MountRequest => ({
  ...open.request,
  name: `attack-${randomUUID().slice(0, 8)}`,
  target: { ...open.request.target, pod: prize.pod, podUid: prize.uid },
  requestedAt: now(),
});
const unmountOf = ({ target, deviceType, user }: MountRequest, force: boolean): UnmountRequest => ({
  kind: 'unmount',
  cluster: CLUSTER_NAME,
  id: randomUUID(),
  target,
  deviceType,
  force,
  user,
  requestedAt: now(),
  deadlineSeconds: 60,
});

describe('whoever can do everything with Temporal', () => {
  test.each<[string, () => Signed<MountRequest>]>([
    ['unsigned', () => ({ request: forPrize(), signature: '' })],
    ['signed by somebody else', () => forged(forPrize())],
    [
      'altered',
      () => ({ ...open, request: { ...open.request, name: `${open.request.name}-2`, target: forPrize().target } }),
    ],
    ['altered to be new again', () => ({ ...ended, request: { ...ended.request, requestedAt: now() } })],
    ['replayed', () => ended],
  ])('gets nothing with a request that is %s', async (_name, make) => {
    const signed = make();
    const { name, target } = signed.request;
    const refused = /^(InvalidSignature|MountEnded|Timeout|Forbidden)$/;
    expect(await attacker.starts(WORKFLOWS.mount, mountWorkflowId(CLUSTER_NAME, 'default', name), signed)).toMatch(
      refused,
    );

    const input = reservationOf(signed);
    const slave = { namespace: 'default', name: slaveName(target.pod, input.mountUid, 0), uid: randomUUID() };
    expect(await attacker.runs('reserveDevices', input)).toMatch(refused);
    // Both a slave of nobody and the victim's.
    for (const slaves of [[slave], victim.mounted.status.slaves]) {
      const attached = await attacker.runs('attachDevices', { signed, slaves }, nodeQueue(CLUSTER_NAME, node));
      expect(attached).toMatch(/^(InvalidSignature|NotAllocated|SlaveEnded|MountEnded|Timeout)$/);
    }
    const mount = { ...victim.mounted, metadata: { ...victim.mounted.metadata, name } };
    const adopted = await attacker.starts(
      WORKFLOWS.mount,
      mountWorkflowId(CLUSTER_NAME, 'default', name),
      signed,
      mount,
    );
    expect(adopted).toMatch(/^(InvalidSignature|SlaveEnded)$/);
    await expectNothingDone();
  });

  test.each<[string, () => Signed<UnmountRequest>]>([
    ['unsigned', () => ({ request: unmountOf(open.request, true), signature: '' })],
    ['signed by somebody else', () => forged(unmountOf(open.request, true))],
    ['signed for something else', () => ({ ...open, request: unmountOf(open.request, true) })],
  ])('ends nothing with a request to unmount that is %s', async (_name, make) => {
    const signed = make();
    const { namespace, name } = victim.mounted.metadata;
    const workflowId = unmountWorkflowId(CLUSTER_NAME, namespace, signed.request.id);
    expect(await attacker.starts(WORKFLOWS.unmount, workflowId, signed)).toBe('InvalidSignature');
    expect(await attacker.runs('findMounts', { signed })).toBe('InvalidSignature');
    const { slaves } = victim.mounted.status;
    const detach = { mounts: [{ namespace, name }], slaves, force: true, signed };
    expect(await attacker.runs('detachDevices', detach, nodeQueue(CLUSTER_NAME, node))).toBe('InvalidSignature');
    const input = { namespace, name: slaves[0]?.name, mount: name, targetUid: victim.mounted.spec.podUid };
    expect(await attacker.runs('deleteSlave', { ...input, signed })).toMatch(/^(InvalidSignature|Forbidden)$/);
    expect(await attacker.runs('deleteSlave', input)).toBe('Forbidden');
    await expectNothingDone();
  });

  test('tells no pod anything', async () => {
    const event = { type: 'Normal', reason: 'Attack', message: 'attack' };
    const signed = forged(open.request);
    expect(await attacker.runs('publish', { signed, mount: victim.mounted, events: [event] })).toBe('InvalidSignature');
    const elsewhere = { ...victim.mounted, spec: { ...victim.mounted.spec, podName: prize.pod, podUid: prize.uid } };
    expect(await attacker.runs('publish', { signed: open, mount: elsewhere, events: [event] })).toBe(
      'InvalidSignature',
    );
    for (const uid of [victim.mounted.spec.podUid, prize.uid]) expect(await eventsOf(uid, 'Attack')).toEqual([]);
    await expectNothingDone();
  });

  test('has nothing freed by the reconciler', async () => {
    expect(await attacker.starts(WORKFLOWS.reconcile, `attack/${randomUUID()}`, {})).toBe('none');
    await expectNothingDone();
  });

  // Last: what is taken stays taken.
  test('can take a device away, as by Cancel, and yet kills no process', async () => {
    const { namespace, name } = victim.mounted.metadata;
    const detach = { mounts: [{ namespace, name }], slaves: victim.mounted.status.slaves, force: true };
    await attacker.runs('detachDevices', detach, nodeQueue(CLUSTER_NAME, node));
    expect((await inPod(victim.pod, `kill -0 ${victim.holder}`)).code).toBe(0);
    expect(await slavesOf(prize.pod)).toEqual([]);
    expect(await deviceState(prize.pod)).toEqual(prize.state);
  });
});
