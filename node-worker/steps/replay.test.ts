import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { AttachInput, AttachResult, DetachInput, DetachResult } from '../../contract/node-activities.ts';
import { endsAtMs } from '../../contract/requests.ts';
import { attachInput, inTime, MemoryNode, mountRequest, unmountRequest } from '../../test/node-worker/memory-node.ts';
import { recover } from '../guards/recover.ts';
import { FileMountStore } from '../state/mount-store.ts';
import { attach } from './attach.ts';
import { detach } from './detach.ts';
import { checkFresh } from './replay.ts';

const MOUNT = { namespace: 'default', name: 'm1' };

let node: MemoryNode;
let slave: SlaveRef;
beforeEach(async () => {
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
});
afterEach(() => node.remove());

const usable = (): readonly string[] => [...(node.engine.containers.get('c1') ?? [])];
const attachNow = (input: AttachInput): Promise<AttachResult> => attach(node.deps, input, { signal: inTime() });
const detachNow = (change: Partial<DetachInput> = {}): Promise<DetachResult> =>
  detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false, ...change });

/** Another slave pod that says to be the mount's, as anybody may write who makes pods there; the kubelet has given it a device. */
function forgedSlave(): SlaveRef {
  node.allocations = [];
  return node.addSlave('forged', ['/dev/fuse::2']);
}

async function killed(): Promise<void> {
  await node.restart();
  await recover(node.deps);
}

/** Somebody mounts again, and a process uses that. */
async function mountAgain(): Promise<SlaveRef> {
  node.allocations = [];
  const second = node.addSlave('s2', ['/dev/fuse'], 'm2');
  await attachNow(attachInput(second, { name: 'm2' }));
  const device = 'c 10:229';
  node.engine.users.set('c1', [{ pid: 7, startTime: '1', command: 'cat', containerInit: false, via: 'fd', device }]);
  return second;
}

describe('a signed request to mount', () => {
  test('attaches nothing for another slave once its mount has ended, also after a kill', async () => {
    await attachNow(attachInput(slave));
    await detachNow();
    const replayed = attachInput(forgedSlave());
    await expect(attachNow(replayed)).rejects.toMatchObject({ type: 'MountEnded' });
    await killed();
    await expect(attachNow(replayed)).rejects.toMatchObject({ type: 'MountEnded' });
    expect(usable()).toEqual([]);
  });

  test('is known by what it says, however its signature is spelled', async () => {
    await attachNow(attachInput(slave));
    await detachNow();
    const { signed, slaves } = attachInput(forgedSlave());
    for (const signature of [`${signed.signature}\n`, signed.signature.replaceAll('=', '')]) {
      const replayed = attachNow({ signed: { ...signed, signature }, slaves });
      await expect(replayed).rejects.toMatchObject({ type: 'MountEnded' });
    }
  });

  test('attaches nothing for another slave while its owner is not told of the end', async () => {
    await attachNow(attachInput(slave));
    const record = node.deps.store.get(MOUNT)!;
    await node.deps.store.put({ ...record, phase: 'revoked', leftToDo: 'tellOwner' });
    await expect(attachNow(attachInput(forgedSlave()))).rejects.toMatchObject({ type: 'MountEnded' });
  });

  test('attaches what is attached again, also after a kill in the middle or at the end', async () => {
    let cut = true;
    node.engine.before = () => {
      if (cut) throw new Error('killed');
    };
    await expect(attachNow(attachInput(slave))).rejects.toThrow('killed');
    cut = false;
    await killed();
    await attachNow(attachInput(slave));
    await killed();
    await attachNow(attachInput(slave));
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('attaches for another slave when a try before has attached nothing', async () => {
    node.engine.before = (change) => {
      if (change === 'grant') node.endPod('s1');
    };
    await expect(attachNow(attachInput(slave))).rejects.toMatchObject({ type: 'SlaveEnded' });
    await detachNow();
    await killed();
    node.engine.before = () => undefined;
    node.allocations = [];
    // A reset of the mount's workflow makes its slave anew.
    await attachNow(attachInput(node.addSlave('s2')));
    expect(usable()).toEqual(['/dev/fuse']);
  });

  test('attaches for another slave while its mount goes on, within its time only', async () => {
    await attachNow(attachInput(slave));
    node.allocations = [];
    const second = node.addSlave('s2');
    let cut = false;
    node.engine.before = (change) => {
      cut ||= change === 'grant';
      if (cut) throw new Error('killed');
    };
    await expect(attachNow(attachInput(second))).rejects.toThrow('killed');
    node.engine.before = () => undefined;
    await killed();
    await attachNow(attachInput(second));
    expect(node.deps.store.get(MOUNT)?.slaves).toEqual([second]);
    const tooLate = endsAtMs(mountRequest().request) + 1;
    expect(() => checkFresh(node.deps.store, attachInput(second), tooLate)).not.toThrow();
    expect(() => checkFresh(node.deps.store, attachInput(slave), tooLate)).toThrow('is too late');
  });

  test('is forgotten when its time is over, since it is too late then', async () => {
    await attachNow(attachInput(slave));
    await detachNow();
    const { request } = mountRequest();
    expect(node.deps.store.usedFor(request)).toEqual(new Set([slave.uid]));
    const until = endsAtMs(request);
    expect((await FileMountStore.open(node.stateDir, until)).usedFor(request)).toBeDefined();
    expect((await FileMountStore.open(node.stateDir, until + 1)).usedFor(request)).toBeUndefined();
    expect(readdirSync(join(node.stateDir, 'used'))).toEqual([]);
  });
});

describe('a signed request to unmount', () => {
  const signed = unmountRequest({ force: true });
  const replayed = (): Promise<DetachResult> =>
    detachNow({ mounts: [{ ...MOUNT, name: 'm2' }], slaves: [], force: true, signed });

  test('takes nothing of a mount that was made after its first use, and ends no process, also after a kill', async () => {
    await attachNow(attachInput(slave));
    await detachNow({ force: true, signed });
    await mountAgain();
    await replayed();
    await killed();
    await replayed();
    expect(usable()).toEqual(['/dev/fuse']);
    expect(node.engine.killed).toEqual([]);
  });

  test('is worth no more than none where the slave is named', async () => {
    await attachNow(attachInput(slave));
    await detachNow({ force: true, signed });
    const second = await mountAgain();
    const again = detachNow({ mounts: [{ ...MOUNT, name: 'm2' }], slaves: [second], force: true, signed });
    await expect(again).rejects.toMatchObject({ type: 'DeviceBusy' });
    expect(node.engine.killed).toEqual([]);
  });

  test('finishes what it began, also after a kill', async () => {
    await attachNow(attachInput(slave));
    node.engine.before = (change) => {
      if (change === 'revoke') throw new Error('killed');
    };
    await expect(detachNow({ slaves: [], force: true, signed })).rejects.toThrow('killed');
    node.engine.before = () => undefined;
    await killed();
    await detachNow({ slaves: [], force: true, signed });
    expect(usable()).toEqual([]);
    await detachNow({ slaves: [], force: true, signed });
  });
});
