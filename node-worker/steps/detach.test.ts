import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { DetachInput } from '../../contract/node-activities.ts';
import type { Signed, UnmountRequest } from '../../contract/requests.ts';
import {
  attachInput,
  inTime,
  MemoryNode,
  mountRequest,
  TARGET,
  USER,
  unmountRequest,
} from '../../test/node-worker/memory-node.ts';
import { SlaveGuard } from '../guards/slave-guard.ts';
import type { DeviceUser } from '../kernel/engine.ts';
import { attach } from './attach.ts';
import { detach } from './detach.ts';

const MOUNT = { namespace: 'default', name: 'm1' };

const INIT: DeviceUser = { ...USER, pid: 1, command: 'app', containerInit: true };
const stale = unmountRequest({ force: true, requestedAt: '2026-01-01T00:00:00Z' });

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
  await attach(node.deps, attachInput(slave), { signal: inTime() });
});

afterEach(() => node.remove());

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];

function detachNow(change: Partial<DetachInput> = {}) {
  return detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false, ...change });
}

describe('detach()', () => {
  test('takes back what was attached and says what it was', async () => {
    const { mounts } = await detachNow();
    expect(mounts).toMatchObject([{ mount: MOUNT, devices: [{ id: '/dev/fuse' }] }]);
    expect(usable()).toEqual([]);
    expect(node.deps.store.records()).toEqual([]);
    expect(node.engine.opened).toBe(0);
  });

  test('succeeds for a mount it does not know, and again', async () => {
    await detachNow();
    expect(await detachNow()).toEqual({ mounts: [{ mount: MOUNT, devices: [] }] });
  });

  test('succeeds when the container is gone', async () => {
    node.engine.containers.clear();
    await detachNow();
    expect(node.deps.store.records()).toEqual([]);
  });

  test('leaves everything when a process uses a device, and names it', async () => {
    node.engine.users.set('c1', [USER]);
    await expect(detachNow()).rejects.toMatchObject({
      type: 'DeviceBusy',
      details: [[{ reason: 'Process', message: 'pid 7 (cat) uses c 10:229' }]],
    });
    expect(usable()).toEqual(['/dev/fuse']);
    expect(node.deps.store.buried(slave.uid)).toBe(false);
  });

  test('minds no users of a device that the container has by itself, and ends none', async () => {
    await detachNow();
    node.engine.accessBefore = 'rwm';
    const own = node.addSlave('s2', ['/dev/fuse::2']);
    await attach(node.deps, attachInput(own, { deadlineSeconds: 3_601 }), { signal: inTime() });
    node.engine.users.set('c1', [USER]);
    await detachNow({ slaves: [own] });
    expect([node.engine.killed, node.deps.store.records()]).toEqual([[], []]);
  });

  test('gives back what it took when a process opens the device in between', async () => {
    node.engine.before = (change) => {
      if (change === 'revoke') node.engine.users.set('c1', [USER]);
    };
    await expect(detachNow()).rejects.toMatchObject({ type: 'DeviceBusy' });
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('ends processes when the user was authorised to force', async () => {
    node.engine.users.set('c1', [USER]);
    await detachNow({ signed: unmountRequest({ force: true }) });
    expect(node.engine.killed).toEqual([7]);
    expect(usable()).toEqual([]);
  });

  test('leaves the main process of the container, and says that force would end the container', async () => {
    node.engine.users.set('c1', [INIT]);
    await expect(detachNow({ signed: unmountRequest() })).rejects.toMatchObject({
      type: 'DeviceBusy',
      message: expect.stringContaining('is the main process of the container. Unmounting by force (force=1) would end'),
    });
    expect(node.engine.killed).toEqual([]);
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('by force ends the main process of the container too, and says so to the caller and the pod', async () => {
    node.engine.users.set('c1', [USER, INIT]);
    const { mounts } = await detachNow({ signed: unmountRequest({ force: true }), force: true });
    const who = 'pid 7 (cat) uses c 10:229; pid 1 (app) uses c 10:229, is the main process of the container';
    expect(mounts).toMatchObject([{ mount: MOUNT, ended: who }]);
    expect(node.engine.killed).toEqual([7, 1]);
    expect(node.events).toEqual([
      `Pod web-0 EndDeviceUsers: Ended processes that still used devices: ${who}. Reason: jane has unmounted them by force (mount m1 of jane)`,
    ]);
    expect(node.deps.store.records()).toEqual([]);
  });

  test('by force gives everything back when the kernel does not end a process, and tells which it has ended', async () => {
    node.engine.users.set('c1', [USER, { ...USER, pid: 8 }]);
    node.engine.stuck.add(7);
    await expect(detachNow({ signed: unmountRequest({ force: true }), force: true })).rejects.toMatchObject({
      type: 'DeviceBusy',
    });
    expect(usable()).toEqual(['/dev/fuse']);
    expect(node.deps.store.get(MOUNT)?.phase).toBe('attached');
    expect(node.deps.store.buried(slave.uid)).toBe(false);
    expect(node.events).toEqual([expect.stringMatching(/EndDeviceUsers: .*: pid 8 \(cat\) uses c 10:229\. Reason/)]);
  });

  test('by force of a request of which the time is over ends nothing and takes nothing that is used', async () => {
    node.engine.users.set('c1', [USER]);
    await expect(detachNow({ signed: stale, force: true })).rejects.toMatchObject({ type: 'DeviceBusy' });
    expect(node.engine.killed).toEqual([]);
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test.each([
    ['of another container', unmountRequest({ force: true, target: { ...TARGET, container: 'other' } })],
    ['of another pod', unmountRequest({ force: true, target: { ...TARGET, podUid: 'other' } })],
    ['of another mount', unmountRequest({ force: true, mount: 'm2' })],
    ['without force', unmountRequest()],
    ['whose time is over', unmountRequest({ force: true, requestedAt: '2026-01-01T00:00:00Z' })],
  ])('ends no process for a signed request %s', async (_name, signed) => {
    node.engine.users.set('c1', [USER]);
    await expect(detachNow({ signed })).rejects.toMatchObject({ type: 'DeviceBusy' });
    expect(node.engine.killed).toEqual([]);
  });

  test('ends no process for a request of a retired key, and takes back what its slaves name', async () => {
    const signed = unmountRequest({ force: true });
    node.retireKeys();
    node.engine.users.set('c1', [USER]);
    await expect(detachNow({ signed })).rejects.toMatchObject({ type: 'DeviceBusy' });
    expect(node.engine.killed).toEqual([]);
    node.engine.users.clear();
    await detachNow({ signed });
    expect(usable()).toEqual([]);
  });

  test('refuses an altered request', async () => {
    const signed = unmountRequest();
    const forged = { ...signed, request: { ...signed.request, force: true } };
    await expect(detachNow({ signed: forged })).rejects.toMatchObject({ type: 'InvalidSignature' });
  });

  const OTHER = { namespace: 'default', name: 's9', uid: 's9-uid' };
  const attacks: readonly [string, Partial<DetachInput>][] = [
    ['no slave', { slaves: [] }],
    ['the slave of an earlier mount of that name', { slaves: [OTHER] }],
    ['the name of the slave with another UID', { slaves: [{ namespace: 'default', name: 's1', uid: 'old' }] }],
    ['a request of which the time is over', { slaves: [], signed: stale }],
    ['such a request and other slaves', { slaves: [OTHER], signed: stale }],
    [
      'a request about another container',
      { slaves: [OTHER], signed: unmountRequest({ target: { ...TARGET, container: 'other' } }) },
    ],
    ['a request about another mount', { slaves: [OTHER], signed: unmountRequest({ mount: 'm2' }) }],
    [
      'a request to mount in the place of one to unmount',
      { slaves: [OTHER], signed: mountRequest() as unknown as Signed<UnmountRequest> },
    ],
  ];
  test.each(attacks)('takes nothing by force from a mount that is named with %s', async (_name, change) => {
    node.engine.users.set('c1', [USER]);
    const { mounts } = await detachNow({ ...change, force: true });
    expect(mounts).toEqual([{ mount: MOUNT, devices: [] }]);
    expect(usable()).toEqual(['/dev/fuse']);
    expect(node.engine.killed).toEqual([]);
    expect(node.deps.store.get(MOUNT)?.phase).toBe('attached');
    expect(node.deps.store.buried(slave.uid)).toBe(false);
  });

  test('buries no slave of a mount that is not detached', async () => {
    await detachNow({ mounts: [{ namespace: 'default', name: 'unknown' }], slaves: [slave, OTHER], force: true });
    expect(usable()).toEqual(['/dev/fuse']);
    expect([node.deps.store.buried(slave.uid), node.deps.store.buried(OTHER.uid)]).toEqual([false, true]);
  });

  test('takes what an authorised request is about, whatever slaves it knows', async () => {
    await detachNow({ slaves: [], signed: unmountRequest() });
    expect(usable()).toEqual([]);
    expect(node.deps.store.buried(slave.uid)).toBe(true);
  });

  test('goes on with a request of which the time is over meanwhile, but ends no process', async () => {
    node.engine.users.set('c1', [USER]);
    await expect(detachNow({ signed: stale })).rejects.toMatchObject({ type: 'DeviceBusy' });
    node.engine.users.clear();
    await detachNow({ signed: stale });
    expect(usable()).toEqual([]);
    expect(node.engine.killed).toEqual([]);
  });

  test('takes the devices by force without a signature, but leaves processes until the slave ends', async () => {
    node.engine.users.set('c1', [USER]);
    for (let time = 0; time < 2; time++)
      expect(await detachNow({ force: true })).toMatchObject({ mounts: [{ inUse: true }] });
    expect(usable()).toEqual([]);
    expect(node.engine.killed).toEqual([]);
    await expect(detachNow()).rejects.toMatchObject({ type: 'DeviceBusy' });
    const guard = new SlaveGuard({ deps: node.deps, tellOwner: async () => undefined, retryMs: 10 });
    guard.slaveEnded(slave.uid, 'it is being deleted');
    await guard.stop();
    expect(node.engine.killed).toEqual([7]);
    expect(node.deps.store.records()).toEqual([]);
  });

  test.each(['at once', 'after they were left', 'though the watch has not seen it'])(
    'ends processes when the slave is ending anyway, %s',
    async (when) => {
      node.engine.users.set('c1', [USER, INIT]);
      if (when === 'after they were left') await detachNow({ force: true });
      node.endPod('s1');
      if (when === 'though the watch has not seen it') node.deps = { ...node.deps, endOfSlave: () => undefined };
      const { mounts } = await detachNow({ force: true });
      expect(mounts[0]?.inUse).toBeUndefined();
      expect([node.engine.killed, node.engine.graces]).toEqual([[7, 1], [2_000]]);
      expect(node.deps.store.records()).toEqual([]);
    },
  );

  test('of an ending slave fails as long as the kernel does not end a process, so that its slave frees nothing', async () => {
    node.engine.users.set('c1', [USER]);
    node.engine.stuck.add(7);
    node.endPod('s1');
    for (let time = 0; time < 2; time++) {
      await expect(detachNow({ force: true })).rejects.toMatchObject({ type: 'Internal', nonRetryable: false });
      expect(usable()).toEqual([]);
    }
    expect(node.deps.store.get(MOUNT)).toMatchObject({ phase: 'revoked', leftToDo: 'endUsers' });
    await expect(detachNow({ force: true })).rejects.toMatchObject({ type: 'Internal' });
    expect([node.engine.graces[0], node.engine.graces.at(-1)]).toEqual([2_000, 0]);
    node.engine.stuck.clear();
    await detachNow({ force: true });
    expect(node.deps.store.records()).toEqual([]);
  });
});

describe('detach() of several mounts', () => {
  const SECOND = { namespace: 'default', name: 'm2' };
  let second: SlaveRef;
  beforeEach(async () => {
    second = node.addSlave('s2', ['/dev/fuse::1'], 'm2');
    await attach(node.deps, attachInput(second, { name: 'm2' }), { signal: inTime() });
  });

  test('keeps a node that another mount needs', async () => {
    node.engine.users.set('c1', [USER]);
    await detachNow();
    expect(usable()).toEqual(['/dev/fuse']);
    expect(node.deps.store.get(SECOND)?.phase).toBe('attached');
  });

  test('takes all of them together', async () => {
    await detachNow({ mounts: [MOUNT, SECOND], slaves: [slave, second] });
    expect(usable()).toEqual([]);
    expect(node.deps.store.records()).toEqual([]);
  });

  test('takes none of them when one is busy', async () => {
    node.engine.users.set('c1', [USER]);
    await expect(detachNow({ mounts: [MOUNT, SECOND], slaves: [slave, second] })).rejects.toMatchObject({
      type: 'DeviceBusy',
    });
    expect(node.deps.store.records()).toHaveLength(2);
  });
});
