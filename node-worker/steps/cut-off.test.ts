import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import {
  attachInput,
  inTime,
  MemoryNode,
  restartContainer,
  USER,
  unmountRequest,
} from '../../test/node-worker/memory-node.ts';
import { Healer } from '../guards/healer.ts';
import { recover } from '../guards/recover.ts';
import { SlaveGuard } from '../guards/slave-guard.ts';
import { attach, attachAgain } from './attach.ts';
import { detach } from './detach.ts';

const MOUNT = { namespace: 'default', name: 'm1' };

let node: MemoryNode;
let slave: SlaveRef;
let told: string[];
/** Changes of the container since the last restart. */
let changes: string[];
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
  await attach(node.deps, attachInput(slave), { signal: inTime() });
  told = [];
});
afterEach(() => node.remove());

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];
const phase = (): string | undefined => node.deps.store.get(MOUNT)?.phase;
const guardNow = (): SlaveGuard =>
  new SlaveGuard({ deps: node.deps, tellOwner: async (_mount, { signal }) => void told.push(signal), retryMs: 1 });
const detachNow = (force = false) =>
  detach(node.deps, { mounts: [MOUNT], slaves: [slave], force, ...(force && { signed: unmountRequest({ force }) }) });

/** The worker is killed after it has changed the container, before it has written what that means. */
async function cutOff(revoke: () => Promise<unknown>): Promise<void> {
  node.deps.store.bury = () => Promise.reject(new Error('killed'));
  await revoke();
  await node.restart();
  expect([usable(), phase()]).toEqual([[], 'revoking']);
  changes = [];
  node.engine.before = (change) => void changes.push(change);
}

async function endSlave(): Promise<void> {
  const guard = guardNow();
  guard.slaveEnded(slave.uid, 'it is being deleted');
  await guard.stop();
}

const ignore = async (): Promise<void> => undefined;

/** What main.ts does at a start, and one look of the healer. */
async function start(): Promise<void> {
  await recover(node.deps);
  const guard = guardNow();
  const release = guard.release.bind(guard);
  const healer = new Healer({ deps: node.deps, tellOwner: ignore, release, periodMs: 1e6, slaveDeadlineMs: 1e6 });
  guard.resume();
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  await guard.idle();
  healer.look();
  await healer.stop();
  await guard.stop();
}

describe('a revocation', () => {
  test.each([
    ['of an unmount', () => detachNow()],
    ['of an ended slave', endSlave],
  ])('%s is in the record before anything is changed', async (_name, revoke) => {
    node.engine.before = () => expect(phase()).toBe('revoking');
    await revoke();
    expect([usable(), phase()]).toEqual([[], undefined]);
  });

  test.each([
    ['deleted', () => void node.pods.delete('s1')],
    ['ending', () => node.endPod('s1')],
  ])('that was cut off is finished when the slave is %s, and gives nothing first', async (_name, end) => {
    await cutOff(() => expect(detachNow()).rejects.toThrow('killed'));
    end();
    await start();
    expect([changes, usable(), phase(), told]).toEqual([['revoke'], [], undefined, ['slaveEnding']]);
  });

  test('that was cut off is finished when the node had decided it, however well the slave looks', async () => {
    await cutOff(endSlave);
    await start();
    expect([changes, usable(), phase(), told]).toEqual([['revoke'], [], undefined, ['slaveEnding']]);
  });

  test('of an unmount that was cut off is undone while the slave is well, and can be asked for again', async () => {
    await cutOff(() => expect(detachNow()).rejects.toThrow('killed'));
    await start();
    expect([changes, usable(), phase()]).toEqual([['grant'], ['/dev/fuse'], 'attached']);
    await detachNow();
    expect([usable(), phase()]).toEqual([[], undefined]);
  });

  test('of an unmount that was cut off stays as it is until kube-apiserver tells of the slave', async () => {
    await cutOff(() => expect(detachNow()).rejects.toThrow('killed'));
    const { pods } = node.deps;
    node.deps = { ...node.deps, pods: { get: () => Promise.reject(new Error('away')) } };
    await start();
    expect([changes, usable(), phase()]).toEqual([[], [], 'revoking']);
    node.deps = { ...node.deps, pods };
    await start();
    expect([usable(), phase()]).toEqual([['/dev/fuse'], 'attached']);
  });

  test('that cannot be done is not undone when the slave has ended meanwhile', async () => {
    node.engine.before = (change) => {
      if (change === 'grant') throw new Error('granted');
      node.engine.users.set('c1', [USER]);
      node.endPod('s1');
    };
    await expect(detachNow()).rejects.toMatchObject({ type: 'DeviceBusy' });
    expect(phase()).toBe('revoking');
    await endSlave();
    expect([usable(), phase(), node.engine.killed]).toEqual([[], undefined, [7]]);
  });

  test('that is going on gives nothing to another mount of the container that is mended', async () => {
    await cutOff(() => expect(detachNow()).rejects.toThrow('killed'));
    const granted: string[] = [];
    const { engine } = node.deps;
    engine.grant = async (_container, _grant, others) => {
      granted.push(...others.map(({ owner }) => owner));
      return { rulesChanged: 0, nodesMade: [] };
    };
    const second = node.addSlave('s2', ['/dev/fuse::2'], 'm2');
    await attach(node.deps, attachInput(second, { name: 'm2' }), { signal: inTime() });
    expect(granted).toEqual([]);
  });
});

describe('the healer', () => {
  test.each([
    ['is ending', () => node.endPod('s1')],
    ['was not seen yet', () => void node.pods.delete('s1')],
  ])('gives nothing to a mount whose slave %s', async (_name, change) => {
    node.engine.containers.get('c1')?.clear();
    change();
    await start();
    expect([usable(), phase()]).toEqual([[], 'attached']);
  });
});

/** The worker is killed while it gives the device to container `c2`. */
async function cutOffAgain(granted: boolean): Promise<void> {
  restartContainer(node, 'c2');
  node.engine.before = (change) => {
    if (change === 'grant' && granted) node.engine.containers.get('c2')?.add('/dev/fuse');
    throw new Error('killed');
  };
  const record = node.deps.store.get(MOUNT);
  if (record === undefined) throw new Error('nothing was attached');
  await expect(attachAgain(node.deps, record, { signal: inTime() })).rejects.toThrow('killed');
  await node.restart();
  expect(phase()).toBe('attaching');
  node.engine.before = () => undefined;
}
const usableIn = (id: string): readonly string[] => [...(node.engine.containers.get(id) ?? [])];

describe('an attach to a container that has restarted', () => {
  test.each([
    ['before anything was given', false],
    ['after all was given', true],
  ])('that was cut off %s is made again', async (_name, granted) => {
    await cutOffAgain(granted);
    await recover(node.deps);
    expect(usableIn('c2')).toEqual([]);
    await start();
    expect([usableIn('c2'), phase()]).toEqual([['/dev/fuse'], 'attached']);
    expect(node.deps.store.get(MOUNT)).not.toHaveProperty('before');
  });

  test('that was cut off is made in the next container when that has restarted meanwhile', async () => {
    await cutOffAgain(true);
    node.engine.containers.delete('c2');
    restartContainer(node, 'c3');
    await start();
    expect([usableIn('c3'), phase()]).toEqual([['/dev/fuse'], 'attached']);
  });

  test('that was cut off leaves the container its device when a process uses it already', async () => {
    await cutOffAgain(true);
    node.engine.users.set('c2', [USER]);
    await start();
    expect([usableIn('c2'), phase(), node.engine.killed]).toEqual([['/dev/fuse'], 'attached', []]);
    expect(node.deps.store.get(MOUNT)).not.toHaveProperty('before');
  });

  test('that was cut off is not made again when its slave has ended', async () => {
    await cutOffAgain(true);
    node.pods.delete('s1');
    await recover(node.deps);
    await endSlave();
    expect([usableIn('c2'), phase()]).toEqual([[], undefined]);
  });
});
