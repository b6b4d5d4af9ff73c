import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { fail } from '../../contract/failures.ts';
import type { MountRequest } from '../../contract/requests.ts';
import {
  attachInput,
  FUSE_RESOURCE,
  inTime,
  MemoryNode,
  restartContainer,
} from '../../test/node-worker/memory-node.ts';
import { UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import type { Notice } from '../state/mount-record.ts';
import { attach } from '../steps/attach.ts';
import { detach } from '../steps/detach.ts';
import { Healer } from './healer.ts';
import { SlaveGuard } from './slave-guard.ts';

const MOUNT = { namespace: 'default', name: 'm1' };

let node: MemoryNode;
let slave: SlaveRef;
let healer: Healer;
let guard: SlaveGuard;
let told: Notice[];
beforeEach(async () => {
  told = [];
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
});
afterEach(async () => {
  await healer.stop();
  await guard.stop();
  expect(node.engine.opened).toBe(0);
  node.remove();
});

const tellOwner = async (_mount: unknown, notice: Notice): Promise<void> => void told.push(notice);

async function mounted(change: Partial<MountRequest> = {}, slaveDeadlineMs = 60_000): Promise<void> {
  await attach(node.deps, attachInput(slave, change), { signal: inTime() });
  guard = new SlaveGuard({ deps: node.deps, tellOwner, retryMs: 1 });
  healer = new Healer({
    deps: node.deps,
    tellOwner,
    release: (mount, why, notice) => guard.release(mount, why, notice),
    periodMs: 1_000_000,
    slaveDeadlineMs,
  });
}

/** Looks until there is nothing left to do. */
async function look(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    healer.look();
    await healer.settled();
    await guard.idle();
  }
}

const usable = (id = 'c1'): readonly string[] => [...(node.engine.containers.get(id) ?? [])];

const slaveHas = (...paths: readonly string[]): unknown =>
  node.engine.containers.set(`${slave.uid}-container`, new Set(paths));

describe('Healer', () => {
  test('leaves alone what is as it should be', async () => {
    await mounted();
    await look();
    expect(told).toEqual([]);
    expect(node.deps.store.get(MOUNT)?.confirmed).toBe(true);
  });

  test('gives back what somebody has taken away, and says what', async () => {
    await mounted();
    node.engine.containers.get('c1')?.clear();
    await look();
    expect(usable()).toEqual(['/dev/fuse']);
    expect(told).toMatchObject([{ signal: 'driftHealed', argument: { what: 'device rules, /dev/fuse' } }]);
    expect(await node.deps.metrics.text()).toContain('device_mounter_node_heals_total 1');
  });

  test('tries again when mending fails', async () => {
    await mounted();
    node.engine.containers.get('c1')?.clear();
    let failures = 1;
    node.engine.before = () => {
      if (failures-- > 0) throw new Error('broken');
    };
    await look();
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('says once that it cannot mend a container, and again when that is over', async () => {
    await mounted();
    await look();
    node.engine.containers.get('c1')?.clear();
    node.engine.before = () => {
      throw fail('ContainerUnsupported', 'Cannot change device program 7: the kernel hides its instructions');
    };
    await look();
    expect(told).toEqual([
      {
        signal: 'degraded',
        argument: { at: expect.any(String), why: expect.stringContaining('the kernel hides its instructions') },
      },
    ]);
    // Somebody else has made it right.
    node.engine.containers.get('c1')?.add('/dev/fuse');
    await look();
    expect(told.map(({ signal }) => signal)).toEqual(['degraded', 'driftHealed']);
    node.engine.containers.get('c1')?.clear();
    await look();
    expect(told.map(({ signal }) => signal)).toEqual(['degraded', 'driftHealed', 'degraded']);
    node.engine.before = () => undefined;
    await look();
    expect(told.map(({ signal }) => signal)).toEqual(['degraded', 'driftHealed', 'degraded', 'driftHealed']);
  });

  test('mends a mount although another one in the container cannot be mended', async () => {
    await mounted();
    const second = node.addSlave('s2', ['/dev/kvm'], 'm2');
    const [kvm] = node.allocations.slice(-1);
    node.allocations[1] = {
      ...kvm!,
      devices: [{ containerPath: '/dev/kvm', hostPath: '/dev/kvm', permissions: 'rw' }],
    };
    await attach(node.deps, attachInput(second, { name: 'm2' }), { signal: inTime() });
    node.engine.containers.set(`${second.uid}-container`, new Set(['/dev/kvm']));
    node.engine.containers.get('c1')?.clear();
    node.engine.before = (_change, { owner }) => {
      if (owner.startsWith('default/m1')) throw new Error('broken');
    };
    await look();
    expect(usable()).toEqual(['/dev/kvm']);
  });

  test('follows a container that restarts, once the new one runs', async () => {
    await mounted();
    restartContainer(node, 'c2');
    const { container } = node;
    node.container = undefined;
    await look();
    expect(node.deps.store.get(MOUNT)?.phase).toBe('attached');
    node.container = container;
    await look();
    expect(usable('c2')).toEqual(['/dev/fuse']);
    expect(node.deps.store.get(MOUNT)?.containerId).toBe('c2');
    expect(told).toEqual([{ signal: 'containerRestarted', argument: { containerId: 'c2', reapplied: true } }]);
  });

  test('follows a restart that happened while this process was away', async () => {
    await mounted();
    restartContainer(node, 'c2');
    await node.restart();
    await healer.stop();
    healer = new Healer({
      deps: node.deps,
      tellOwner: async () => undefined,
      release: () => undefined,
      periodMs: 1e6,
      slaveDeadlineMs: 1e6,
    });
    await look();
    expect(usable('c2')).toEqual(['/dev/fuse']);
  });

  test('gives a restarted container only what the mount still has', async () => {
    node.remove();
    node = await MemoryNode.make();
    slave = node.addSlave('s1', ['a', 'b']);
    await mounted({ resources: { [FUSE_RESOURCE]: '2' } });
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], device: 'a', force: false });
    restartContainer(node, 'c2');
    await look();
    expect(node.deps.store.get(MOUNT)?.devices.map(({ id }) => id)).toEqual(['b']);
  });

  test('releases the mount when its container restarts, where the policy says so', async () => {
    await mounted({ onRestart: 'release' });
    restartContainer(node, 'c2');
    await look();
    expect(usable('c2')).toEqual([]);
    expect(node.deps.store.records()).toEqual([]);
    expect(node.deps.store.buried(slave.uid)).toBe(true);
    expect(told).toEqual([{ signal: 'containerRestarted', argument: { containerId: 'c2', reapplied: false } }]);
  });

  test('releases the mount when the kubelet has given its device away meanwhile', async () => {
    await mounted();
    restartContainer(node, 'c2');
    node.allocations = [{ ...node.allocations[0]!, deviceIds: ['x', 'y'] }];
    await look();
    expect(usable('c2')).toEqual([]);
    expect(node.deps.store.records()).toEqual([]);
    expect(told).toEqual([{ signal: 'containerRestarted', argument: { containerId: 'c2', reapplied: false } }]);
  });

  test('keeps the mount while a restarted container cannot be reached yet', async () => {
    await mounted();
    restartContainer(node, 'c2');
    let failures = 1;
    node.engine.before = () => {
      if (failures-- > 0) throw new Error('broken');
    };
    healer.look();
    await healer.settled();
    expect(node.deps.store.get(MOUNT)?.phase).toBe('attached');
    await look();
    expect(usable('c2')).toEqual(['/dev/fuse']);
  });

  test('has nothing to confirm of a mount that was attached as its slave ran, by an earlier release too', async () => {
    await mounted({ deviceType: 'GENERIC' });
    const record = node.deps.store.get(MOUNT);
    expect(record?.confirmed).toBe(true);
    if (record !== undefined) await node.deps.store.put({ ...record, confirmed: false });
    node.podResources.set('s1', new Map());
    await look();
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('releases a mount whose slave does not run in time', async () => {
    node.addPod({ name: 's1', uid: slave.uid, running: false });
    await mounted({}, -1);
    await look();
    expect(usable()).toEqual([]);
    expect(JSON.stringify(told)).toContain('SlaveNotRunning: its slave must run within');
  });

  test('waits longer for a slave while others of the node begin to run', async () => {
    node.addPod({ name: 's1', uid: slave.uid, running: false });
    node.lastSlaveStartMs = Date.now() + 60_000;
    await mounted({}, -1);
    await look();
    expect(usable()).toEqual(['/dev/fuse']);
    node.lastSlaveStartMs = Date.now() - 1;
    await look();
    expect(usable()).toEqual([]);
  });

  test('waits for a slave that has time left, or that is not seen', async () => {
    node.addPod({ name: 's1', uid: slave.uid, running: false });
    await mounted();
    await look();
    node.pods.delete('s1');
    await look();
    expect(usable()).toEqual(['/dev/fuse']);
    expect(node.deps.store.get(MOUNT)?.confirmed).toBeUndefined();
  });

  test('releases a mount whose slave has other devices by the words of the kubelet', async () => {
    await mounted();
    node.podResources.set('s1', new Map([[FUSE_RESOURCE, ['/dev/fuse::7']]]));
    await look();
    expect(usable()).toEqual([]);
    expect(JSON.stringify(told)).toContain('is attached, its slave has /dev/fuse::7');
  });

  describe('of a GPU', () => {
    beforeEach(async () => {
      node.addGpus();
      slave = node.addGpuSlave('g1', [UUIDS[0]]);
      await mounted({ deviceType: 'NVIDIA_GPU', resources: { 'nvidia.com/gpu': '1' } });
    });
    test.each([
      ['no GPU, as by a plain runtime', []],
      ['the same GPU, and not all that goes with it', ['/dev/nvidia1', '/dev/nvidiactl']],
    ])('confirms a mount whose slave has %s', async (_name, paths) => {
      slaveHas(...paths);
      await look();
      expect(usable()).toEqual(['/dev/nvidia1', '/dev/nvidiactl', '/dev/nvidia-uvm']);
      expect(node.deps.store.get(MOUNT)?.confirmed).toBe(true);
    });

    test('releases a mount whose slave has another GPU', async () => {
      slaveHas('/dev/nvidia0', '/dev/nvidiactl');
      await look();
      expect(usable()).toEqual([]);
      expect(JSON.stringify(told)).toContain('the running slave has /dev/nvidia0 (c 195:0 rw)');
    });
  });

  test('releases a mount whose running slave lacks what was attached, and names both', async () => {
    await mounted();
    node.engine.containers.set(`${slave.uid}-container`, new Set(['/dev/kvm']));
    await look();
    expect(usable()).toEqual([]);
    const both = '/dev/fuse (c 10:229 rw) are attached, the running slave has /dev/kvm (c 10:232 rw)';
    expect(told).toMatchObject([{ signal: 'release' }]);
    expect(JSON.stringify(told)).toContain(both);
  });
});
