import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { fail } from '../../contract/failures.ts';
import { attachInput, inTime, MemoryNode, USER } from '../../test/node-worker/memory-node.ts';
import type { DeviceUser } from '../kernel/engine.ts';
import { attach } from '../steps/attach.ts';
import { SlaveGuard } from './slave-guard.ts';

const MOUNT = { namespace: 'default', name: 'm1' };
const INIT: DeviceUser = { ...USER, pid: 1, command: 'app', containerInit: true };

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
  await attach(node.deps, attachInput(slave), { signal: inTime() });
});

afterEach(async () => {
  await Promise.all(guards.splice(0).map((guard) => guard.stop()));
  node.remove();
});

const guards: SlaveGuard[] = [];

/** Throws after five minutes. */
async function until(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 300_000; !holds(); await new Promise(setImmediate)) {
    if (performance.now() > end) throw new Error(`waited in vain for ${String(holds)}`);
  }
}

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];

describe('SlaveGuard', () => {
  const told: string[] = [];
  function guardOf(
    tellOwner: (mount: { name: string }) => Promise<void> = async ({ name }) => void told.push(name),
  ): SlaveGuard {
    const guard = new SlaveGuard({ deps: node.deps, tellOwner, retryMs: 5 });
    guards.push(guard);
    return guard;
  }
  beforeEach(() => void told.splice(0));

  test('takes everything back and tells the owner', async () => {
    const guard = guardOf();
    node.engine.users.set('c1', [USER]);
    guard.slaveEnded(slave.uid, 'it is being deleted');
    await guard.stop();
    expect(usable()).toEqual([]);
    expect(node.engine.killed).toEqual([7]);
    expect(told).toEqual(['m1']);
    expect(node.deps.store.records()).toEqual([]);
    expect(node.deps.store.buried(slave.uid)).toBe(true);
  });

  test('ends the main process of the container too, and tells the pod why', async () => {
    const guard = guardOf();
    node.engine.users.set('c1', [INIT]);
    guard.slaveEnded(slave.uid, 'it is being deleted');
    await guard.stop();
    expect(node.engine.killed).toEqual([1]);
    expect(node.events).toEqual([
      'Pod web-0 EndDeviceUsers: Ended processes that still used devices: pid 1 (app) uses c 10:229, is the main process ' +
        'of the container. Reason: the slave pod has ended: it is being deleted (mount m1 of jane)',
    ]);
  });

  test('takes processes that were killed for users until it can look into the container again', async () => {
    const guard = guardOf();
    const { usersOf } = node.engine;
    let isStuck = true;
    node.engine.users.set('c1', [USER]);
    node.engine.usersOf = async (container, devices) => {
      if (isStuck && node.engine.killed.length > 0) throw fail('ContainerStuck', 'Cannot look into container "c1"');
      return usersOf(container, devices);
    };
    guard.slaveEnded(slave.uid, 'it is being deleted');
    await guard.idle();
    expect(node.deps.store.get(MOUNT)).toMatchObject({ phase: 'revoked', leftToDo: 'endUsers' });
    expect(node.events[0]).toContain('DeviceStillUsed');
    isStuck = false;
    await until(() => node.deps.store.records().length === 0);
  });

  test('ends no user of a device that the container has by itself', async () => {
    node.engine.accessBefore = 'rw';
    const resource = 'hostdev.k8s.io/dev_kvm';
    const own = node.addSlave('s2', ['/dev/kvm'], 'm2', '/dev/kvm', resource);
    const input = attachInput(own, { name: 'm2', resources: { [resource]: '1' } });
    await attach(node.deps, input, { signal: inTime() });
    node.engine.users.set('c1', [{ ...USER, device: 'c 10:232' }]);
    const guard = guardOf();
    guard.slaveEnded(own.uid, 'it is being deleted');
    await guard.stop();
    expect([told, node.engine.killed, node.events]).toEqual([['m2'], [], []]);
  });

  test('keeps the record and reports the device until the kernel has ended the last process', async () => {
    const guard = guardOf();
    node.engine.users.set('c1', [USER]);
    node.engine.stuck.add(7);
    guard.slaveEnded(slave.uid, 'it is being deleted');
    await until(() => told.length > 0 && node.engine.killed.length >= 3);
    expect(node.deps.store.get(MOUNT)).toMatchObject({ phase: 'revoked', leftToDo: 'endUsers' });
    expect(usable()).toEqual([]);
    expect(await node.deps.metrics.text()).toContain('device_mounter_node_devices_still_used 1');
    const message = 'Killed, but the kernel has not ended them yet: pid 7 (cat) uses c 10:229.';
    expect(node.events).toEqual([
      expect.stringContaining(`Pod web-0 DeviceStillUsed: ${message}`),
      expect.stringContaining(`Node n1 DeviceStillUsed: Pod default/web-0: ${message}`),
    ]);
    const another = attachInput(node.addSlave('s2', ['/dev/fuse::2']), { deadlineSeconds: 3_601 });
    const attaching = attach(node.deps, another, { signal: inTime() });
    await expect(attaching).rejects.toMatchObject({ type: 'DeviceBusy' });
    node.engine.stuck.clear();
    await until(() => node.deps.store.records().length === 0);
    await guard.stop();
    expect(await node.deps.metrics.text()).toContain('device_mounter_node_devices_still_used 0');
    expect([told, node.events.filter((event) => event.includes('StillUsed'))]).toEqual([['m1'], expect.any(Array)]);
    expect(node.events.filter((event) => event.includes('StillUsed'))).toHaveLength(2);
    expect(node.engine.graces.slice(0, 2)).toEqual([2_000, 0]);
  });

  test('goes on after a restart with processes that the kernel has not ended', async () => {
    const guard = guardOf(() => new Promise(() => undefined));
    node.engine.users.set('c1', [USER]);
    node.engine.stuck.add(7);
    guard.slaveEnded(slave.uid, 'it is being deleted');
    await guard.stop();
    await node.restart();
    node.engine.stuck.clear();
    const next = guardOf();
    next.resume();
    await until(() => node.deps.store.records().length === 0);
    await next.stop();
    expect(told).toEqual(['m1']);
  });

  test('has taken back before the owner can be told, and tells after a restart', async () => {
    const away = Promise.withResolvers<void>();
    const guard = guardOf(() => away.promise);
    guard.slaveEnded(slave.uid, 'it is being deleted');
    await until(() => node.deps.store.get(MOUNT)?.leftToDo === 'tellOwner');
    expect(usable()).toEqual([]);
    await node.restart();
    node.pods.delete('s1');
    const next = guardOf();
    next.slavesListed(new Set());
    await until(() => told.length > 0);
    await next.stop();
    expect(node.deps.store.records()).toEqual([]);
    away.resolve();
    await guard.stop();
  });

  test('does not take a slave for gone that an older list lacks', async () => {
    const guard = guardOf();
    guard.slavesListed(new Set());
    await new Promise(setImmediate);
    await guard.stop();
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('tries again after a failure', async () => {
    let failures = 2;
    node.engine.before = () => {
      if (failures-- > 0) throw new Error('broken');
    };
    const guard = guardOf();
    guard.slaveEnded(slave.uid, 'it is gone');
    await until(() => told.length > 0);
    await guard.stop();
    expect(usable()).toEqual([]);
  });

  test('minds only its own mounts', async () => {
    const guard = guardOf();
    guard.slaveEnded('another', 'it is gone');
    await guard.stop();
    expect(usable()).toEqual(['/dev/fuse']);
  });
});
