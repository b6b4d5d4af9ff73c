import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { fail } from '../../contract/failures.ts';
import { attachInput, inTime, MemoryNode } from '../../test/node-worker/memory-node.ts';
import type { Grant, KernelEngine } from '../kernel/engine.ts';
import { attach } from '../steps/attach.ts';
import { takeOrphansBackOnce } from './orphans.ts';

let node: MemoryNode;
let revoked: Grant[];
beforeEach(async () => {
  node = await MemoryNode.make();
  revoked = [];
  node.engine.before = (_change, grant) => void revoked.push(grant);
});
afterEach(() => {
  expect(node.engine.opened).toBe(0);
  node.remove();
});

const never = new AbortController().signal;

describe('takeOrphansBackOnce()', () => {
  test('takes back all of ours in a container without a mount', async () => {
    await takeOrphansBackOnce(node.deps, 1, never);
    expect(revoked).toEqual([{ owner: 'nobody', containerId: 'c1', devices: [] }]);
  });

  test.each([
    ['is well', async () => undefined, [['default/m1 hostdev.k8s.io/dev_fuse /dev/fuse']]],
    ['has ended, which is for others to act on', async () => node.endPod('s1'), []],
    ['is gone', async () => void node.pods.delete('s1'), []],
    [
      'is well, while it is being changed',
      async () => {
        const [record] = node.deps.store.records();
        if (record !== undefined) await node.deps.store.put({ ...record, phase: 'revoking' });
      },
      [],
    ],
  ])('leaves a mount what it has, and nothing else, when its slave %s', async (_name, change, kept) => {
    await attach(node.deps, attachInput(node.addSlave('s1')), { signal: inTime() });
    const others: string[][] = [];
    const revoke: KernelEngine['revoke'] = (container, grant, left) => {
      others.push(left.map(({ owner }) => owner));
      return node.engine.revoke(container, grant, left);
    };
    await change();
    const engine = { ...node.deps.engine, openContainer: node.engine.openContainer.bind(node.engine), revoke };
    await takeOrphansBackOnce({ ...node.deps, engine }, 1, never);
    expect(others).toEqual(kept);
  });

  test('leaves a container with a kernel of its own', async () => {
    node.container = { id: 'c2', pid: 1, runtimeHandler: 'kata', runtimeType: undefined };
    await takeOrphansBackOnce(node.deps, 1, never);
    expect(revoked).toEqual([]);
  });

  test('minds neither a container that has ended nor one that it cannot read', async () => {
    const all = [{ id: 'gone', pid: 9, runtimeHandler: '', runtimeType: undefined, podUid: 'p', name: 'x' }];
    const everyRunning = async () => [...all, ...(await real.everyRunning())];
    const real = node.deps.containers;
    node.engine.before = (_change, grant) => {
      revoked.push(grant);
      throw fail('ContainerUnsupported', 'hidden');
    };
    await takeOrphansBackOnce({ ...node.deps, containers: { ...real, everyRunning } }, 1, never);
    expect(revoked).toHaveLength(1);
  });

  test('tries again until the runtime answers, or it is not wanted any more', async () => {
    const real = node.deps.containers;
    let failures = 3;
    const everyRunning = () =>
      failures-- > 0 ? Promise.reject(fail('KubeletUnavailable', 'away')) : real.everyRunning();
    const deps = { ...node.deps, containers: { ...real, everyRunning } };
    await takeOrphansBackOnce(deps, 1, never);
    expect(revoked).toHaveLength(1);
    failures = Number.POSITIVE_INFINITY;
    await takeOrphansBackOnce(deps, 60_000, AbortSignal.timeout(5));
    expect(revoked).toHaveLength(1);
  });
});
