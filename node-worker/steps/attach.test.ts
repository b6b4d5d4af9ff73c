import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { AttachInput, AttachResult } from '../../contract/node-activities.ts';
import type { MountRequest, Signed } from '../../contract/requests.ts';
import {
  attachInput,
  FUSE_RESOURCE,
  inTime,
  MemoryNode,
  mountRequest,
  restartContainer,
  TARGET,
  unmountRequest,
} from '../../test/node-worker/memory-node.ts';
import { attach } from './attach.ts';
import { detach } from './detach.ts';

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
});

const MOUNT = { namespace: 'default', name: 'm1' };
afterEach(() => node.remove());

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];

function attachNow(input: AttachInput = attachInput(slave), signal = inTime()): Promise<AttachResult> {
  return attach(node.deps, input, { signal });
}

describe('attach()', () => {
  test('gives exactly what the kubelet allocated', async () => {
    const result = await attachNow();
    const fuse = { path: '/dev/fuse', type: 'c', major: 10, minor: 229, access: 'rw' };
    expect(result).toEqual({
      containerId: 'c1',
      devices: [{ id: '/dev/fuse', resource: FUSE_RESOURCE, slave: 's1', nodes: [fuse] }],
    });
    expect(usable()).toEqual(['/dev/fuse']);
    expect(node.deps.store.get(MOUNT)).toMatchObject({ phase: 'attached', init: { pid: 1 } });
    expect(node.engine.opened).toBe(0);
  });

  test('repeats itself without harm', async () => {
    expect(await attachNow()).toEqual(await attachNow());
    expect(node.deps.store.records()).toHaveLength(1);
  });

  test('repeats itself by a key that was retired meanwhile, which begins nothing', async () => {
    const made = await attachNow();
    node.retireKeys();
    expect(await attachNow()).toEqual(made);
    const other = attachInput(slave, { name: 'm2' });
    await expect(attachNow(other)).rejects.toMatchObject({ type: 'InvalidSignature' });
  });

  test('leaves out resources that were not asked for', async () => {
    node.allocations.push({ ...node.allocations[0]!, resource: 'hostdev.k8s.io/dev_kvm', deviceIds: ['/dev/kvm'] });
    expect((await attachNow()).devices).toHaveLength(1);
  });

  test('waits until the kubelet has allocated and accepted', async () => {
    const [allocation] = node.allocations.splice(0);
    node.accepted.clear();
    let done = false;
    const attaching = attachNow().then(() => (done = true));
    node.allocations.push(allocation!);
    node.changes.notify();
    await node.deps.pods.get('default', 's1');
    expect(done).toBe(false);
    node.accepted.add(slave.uid);
    node.changes.notify();
    await attaching;
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('writes its checkpoint before it changes anything', async () => {
    node.engine.before = () => expect(node.deps.store.get(MOUNT)?.phase).toBe('attaching');
    await attachNow();
  });

  test('stops when it is no longer wanted', async () => {
    node.accepted.clear();
    await expect(attachNow(undefined, AbortSignal.timeout(20))).rejects.toThrow('timeout');
    expect(node.deps.store.records()).toEqual([]);
  });

  const other = { signature: 'x' };
  const refusals: readonly [string, string, () => AttachInput][] = [
    [
      'an unsigned request',
      'InvalidSignature',
      () => ({ ...attachInput(slave), signed: { ...mountRequest(), ...other } }),
    ],
    [
      'an altered request',
      'InvalidSignature',
      () => ({ slaves: [slave], signed: { ...mountRequest(), request: { ...mountRequest().request, name: 'm2' } } }),
    ],
    [
      'a signed request to unmount',
      'InvalidSignature',
      () => ({ slaves: [slave], signed: unmountRequest() as unknown as Signed<MountRequest> }),
    ],
    ['no slave', 'NotAllocated', () => ({ ...attachInput(slave), slaves: [] })],
    ['a slave in another namespace', 'NotAllocated', () => attachInput({ ...slave, namespace: 'other' })],
    ['a slave that another pod has replaced', 'SlaveEnded', () => attachInput({ ...slave, uid: 'old' })],
    [
      'a slave of another target',
      'NotAllocated',
      () => {
        node.addPod({ name: 's1', uid: slave.uid, ownerUids: ['somebody'] });
        return attachInput(slave);
      },
    ],
    [
      'a slave on another node',
      'NotAllocated',
      () => {
        node.addPod({ name: 's1', uid: slave.uid, nodeName: 'n2' });
        return attachInput(slave);
      },
    ],
    [
      'a target on another node',
      'NotAllocated',
      () => {
        node.addPod({ name: TARGET.pod, uid: TARGET.podUid, nodeName: 'n2' });
        return attachInput(slave);
      },
    ],
    ['a target that was replaced', 'TargetGone', () => attachInput(slave, { target: { ...TARGET, podUid: 'old' } })],
    [
      'a target that ends',
      'TargetGone',
      () => {
        node.endPod(TARGET.pod);
        return attachInput(slave);
      },
    ],
    [
      'a slave that has failed',
      'SlaveEnded',
      () => {
        node.endPod('s1', 'it has failed: OutOfpods');
        return attachInput(slave);
      },
    ],
    ['a slave of another mount', 'NotAllocated', () => attachInput(node.addSlave('s2', ['/dev/fuse::2'], 'm2'))],
    [
      'a signed request whose time is over',
      'Timeout',
      () => attachInput(slave, { requestedAt: new Date(Date.now() - 2 * 3_600_000).toISOString() }),
    ],
    ['more devices than asked for', 'NotAllocated', () => attachInput(node.addSlave('s2', ['a', 'b']))],
    [
      'a device that another pod has too',
      'NotAllocated',
      () => {
        node.addSlave('s2');
        return attachInput(slave);
      },
    ],
    [
      'a container that does not run',
      'ContainerNotReady',
      () => {
        node.container = undefined;
        return attachInput(slave);
      },
    ],
    [
      'a container with a kernel of its own',
      'ContainerUnsupported',
      () => {
        node.container = { id: 'c1', pid: 1, runtimeHandler: 'kata', runtimeType: undefined };
        return attachInput(slave);
      },
    ],
  ];
  test.each(refusals)('refuses %s', async (_name, type, input) => {
    await expect(attachNow(input())).rejects.toMatchObject({ type });
    expect(usable()).toEqual([]);
    expect(node.deps.store.records()).toEqual([]);
  });

  test.each([
    ['the target', 'Cannot attach to container "main": its runtime "kata" does not run it on the kernel of the node'],
    ['the slave', 'Cannot see what "s1" has: its runtime "kata" does not run it on the kernel of the node'],
  ])('says that %s has a kernel of its own', async (who, message) => {
    const kata = { id: 'c1', pid: 1, runtimeHandler: 'kata', runtimeType: undefined };
    if (who === 'the target') node.container = kata;
    else node.deps = { ...node.deps, containers: { ...node.deps.containers, allRunning: async () => [kata] } };
    await expect(attachNow(attachInput(slave, { deviceType: 'GENERIC' }))).rejects.toMatchObject({
      type: 'ContainerUnsupported',
      message,
    });
    expect(node.deps.store.records()).toEqual([]);
  });

  test('takes everything back when the allocation changes meanwhile', async () => {
    node.engine.before = (change) => {
      if (change === 'grant') node.allocations = [];
    };
    await expect(attachNow()).rejects.toMatchObject({ type: 'NotAllocated' });
    expect(usable()).toEqual([]);
    expect(node.deps.store.records()).toEqual([]);
  });

  test('takes everything back when the slave ends meanwhile', async () => {
    node.engine.before = (change) => {
      if (change === 'grant') node.endPod('s1');
    };
    await expect(attachNow()).rejects.toMatchObject({ type: 'SlaveEnded' });
    expect(usable()).toEqual([]);
  });

  test('refuses a slave that was detached before, also after a restart', async () => {
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    await expect(attachNow()).rejects.toMatchObject({ type: 'SlaveEnded' });
    await node.restart();
    await expect(attachNow()).rejects.toMatchObject({ type: 'SlaveEnded' });
  });

  test('stops when a detach overtakes it while it waits', async () => {
    node.accepted.clear();
    const attaching = attachNow();
    const refused = expect(attaching).rejects.toMatchObject({ type: 'SlaveEnded' });
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: true });
    node.accepted.add(slave.uid);
    node.changes.notify();
    await refused;
    expect(usable()).toEqual([]);
  });

  test('refuses a slave that serves another signed request', async () => {
    await attachNow();
    await expect(attachNow(attachInput(slave, { deadlineSeconds: 3_601 }))).rejects.toMatchObject({
      type: 'NotAllocated',
    });
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('waits for the running slave where only that shows what it has', async () => {
    const generic = { deviceType: 'GENERIC' } as const;
    node.addPod({ name: 's1', uid: slave.uid, running: false });
    const attaching = attachNow(attachInput(slave, generic));
    await node.deps.pods.get('default', 's1');
    expect(usable()).toEqual([]);
    node.engine.containers.set(`${slave.uid}-container`, new Set(['/dev/fuse', '/dev/kvm']));
    node.addPod({ name: 's1', uid: slave.uid });
    node.changes.notify();
    expect((await attaching).devices).toMatchObject([{ id: '/dev/fuse', nodes: [{ minor: 229 }, { minor: 232 }] }]);
    expect(usable()).toEqual(['/dev/fuse', '/dev/kvm']);
  });

  test('gives the devices to the container that has replaced the first', async () => {
    await attachNow();
    restartContainer(node, 'c2');
    expect((await attachNow()).containerId).toBe('c2');
    expect([...(node.engine.containers.get('c2') ?? [])]).toEqual(['/dev/fuse']);
  });
});
