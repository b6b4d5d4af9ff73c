import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../../contract/device-mount.ts';
import { AllocationGuard } from '../../../node-worker/guards/allocation-guard.ts';
import { takeOrphansBack } from '../../../node-worker/guards/orphans.ts';
import { recover } from '../../../node-worker/guards/recover.ts';
import { SlaveGuard } from '../../../node-worker/guards/slave-guard.ts';
import { detach } from '../../../node-worker/steps/detach.ts';
import { cleanUp } from '../container.ts';
import { CARD, policyOf } from '../devices.ts';
import { CGROUP_VERSIONS } from '../places.ts';
import { KernelNode } from './node.ts';

const MOUNT = { namespace: 'default', name: 'm1' };

beforeAll(cleanUp);
afterAll(cleanUp);

/** What a node worker finds when it starts, and what it makes of it: checkpoint × container and kernel × kubelet and slave. */
describe.each(CGROUP_VERSIONS)('a node worker that starts, on cgroup v%i', (cgroupVersion) => {
  let node: KernelNode;
  let target: NonNullable<KernelNode['target']>;
  let slave: SlaveRef;
  let before: readonly string[];
  beforeEach(async () => {
    node = await KernelNode.make();
    target = node.target = await node.start({ cgroupVersion });
    before = policyOf(target);
    slave = node.memory.addSlave('s1');
  });
  afterEach(() => node.stop());

  const file = (): string => join(node.memory.stateDir, 'mounts/default/m1');
  const opens = async (path = '/dev/fuse'): Promise<boolean> =>
    (await target.run(`true <${path} && echo opened`)).includes('opened');
  const phase = (): string | undefined => node.deps.store.get(MOUNT)?.phase;
  /** Everything that main.ts does at a start, up to the first look of the healer. */
  async function start(): Promise<void> {
    await node.restart();
    await recover(node.deps);
    await takeOrphansBack(node.deps);
    await node.resume();
    await node.look();
  }
  /** As another program does that sets the container's rules anew. */
  async function takeAway(): Promise<void> {
    const { engine } = node.deps;
    const handle = await engine.openContainer({ containerId: target.id });
    for (const { grant } of node.deps.store.get(MOUNT)?.devices ?? []) await engine.revoke(handle, grant, []);
    handle.close();
  }
  async function grantUnaccounted(): Promise<void> {
    const { engine } = node.deps;
    const handle = await engine.openContainer({ containerId: target.id });
    const live = node.deps.store.records().flatMap(({ devices }) => devices.map(({ grant }) => grant));
    await engine.grant(handle, await engine.plan(handle, 'nobody', [CARD], live), live);
    handle.close();
  }

  test('with a whole mount leaves it as it is', async () => {
    await node.attach(slave);
    const attached = policyOf(target);
    await start();
    expect([phase(), policyOf(target), await opens()]).toEqual(['attached', attached, true]);
  });

  test('with a mount that has lost rules and node gives them back', async () => {
    await node.attach(slave);
    await takeAway();
    expect([policyOf(target), await opens()]).toEqual([before, false]);
    await start();
    expect([phase(), await opens()]).toEqual(['attached', true]);
  });

  test.each(['nothing', 'rules and node'])('with an attach that was cut off after %s undoes it', async (done) => {
    await node.attach(slave);
    const record = node.deps.store.get(MOUNT);
    if (record === undefined) throw new Error('no record');
    await node.deps.store.put({ ...record, phase: 'attaching' });
    if (done === 'nothing') await takeAway();
    await start();
    expect([phase(), policyOf(target), await opens()]).toEqual([undefined, before, false]);
    await node.attach(slave);
    expect(await opens()).toBe(true);
  });

  test.each([
    ['attached', 'attached'],
    ['attaching', undefined],
  ] as const)('with a record (%s) of a container that is gone keeps it only for the next one', async (was, is) => {
    await node.attach(slave);
    const record = node.deps.store.get(MOUNT);
    if (record === undefined) throw new Error('no record');
    await node.deps.store.put({ ...record, phase: was });
    await node.end(target);
    node.target = undefined;
    await start();
    expect(phase()).toBe(is);
    target = node.target = await node.start({ cgroupVersion });
    await node.look();
    expect(await opens()).toBe(is === 'attached');
  });

  test.each(['rules and node', 'nothing'])(
    'with a revocation that was cut off and has left %s gives nothing before it has seen that the slave is well',
    async (left) => {
      await node.attach(slave);
      const record = node.deps.store.get(MOUNT);
      if (record === undefined) throw new Error('no record');
      if (left === 'nothing') await takeAway();
      const had = await opens();
      await node.deps.store.put({ ...record, phase: 'revoking' });
      const pod = node.memory.pods.get('s1');
      const { reader } = node;
      node.reader = { get: () => Promise.reject(new Error('away')) };
      await start();
      expect([phase(), await opens()]).toEqual(['revoking', had]);

      node.reader = reader;
      await start();
      expect([phase(), await opens()]).toEqual(['attached', true]);

      await node.deps.store.put({ ...record, phase: 'revoking' });
      if (left === 'nothing') await takeAway();
      node.memory.pods.delete(pod?.name ?? '');
      await start();
      expect([phase(), policyOf(target), await opens()]).toEqual([undefined, before, false]);
      expect(node.told.at(-1)).toMatchObject({ signal: 'slaveEnding' });
    },
  );

  test('with a mount whose slave is gone takes it back, and gives nothing of it first', async () => {
    await node.attach(slave);
    await takeAway();
    await node.restart();
    node.memory.pods.delete('s1');
    await recover(node.deps);
    await node.look();
    expect([policyOf(target), await opens()]).toEqual([before, false]);
    const guard = new SlaveGuard({ deps: node.deps, tellOwner: async () => undefined, retryMs: 10 });
    guard.slavesListed(new Set());
    while (node.deps.store.records().length > 0) await new Promise(setImmediate);
    await guard.stop();
    expect([policyOf(target), await opens()]).toEqual([before, false]);
    expect(node.deps.store.buried(slave.uid)).toBe(true);
  });

  test('with a mount whose device the kubelet has given to another pod takes it back', async () => {
    await node.attach(slave);
    await node.restart();
    const [own] = node.memory.allocations.splice(0);
    if (own === undefined) throw new Error('nothing is allocated');
    node.memory.allocations.push({ ...own, podUid: 'other-uid' });
    await recover(node.deps);
    const guard = new SlaveGuard({ deps: node.deps, tellOwner: async () => undefined, retryMs: 10 });
    const allocations = new AllocationGuard({ deps: node.deps, release: guard.release.bind(guard), pollMs: 60_000 });
    await allocations.look();
    await guard.stop();
    expect([policyOf(target), await opens()]).toEqual([before, false]);
  });

  test('with a checkpoint of a later release leaves alone what that has made', async () => {
    await node.attach(slave);
    const attached = policyOf(target);
    const later = { ...(JSON.parse(readFileSync(file(), 'utf8')) as object), version: 2, news: {} };
    writeFileSync(file(), JSON.stringify(later));
    await start();
    expect([policyOf(target), await opens()]).toEqual([attached, true]);
    const what = 'a later release of the node worker has made';
    await expect(detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: true })).rejects.toThrow(what);
    await expect(node.attach(slave)).rejects.toThrow(what);
    await expect(node.attach(node.memory.addSlave('s2', ['x'], 'm2'), { name: 'm2' })).rejects.toThrow(what);
    expect([policyOf(target), await opens()]).toEqual([attached, true]);
    expect(JSON.parse(readFileSync(file(), 'utf8'))).toEqual(later);
  });

  test('with a temporary file of a checkpoint that was never finished has no trace of it', async () => {
    mkdirSync(join(node.memory.stateDir, 'tmp'), { recursive: true });
    writeFileSync(join(node.memory.stateDir, 'tmp/half'), '{"version":1,"mou');
    await start();
    expect([node.deps.store.records(), policyOf(target)]).toEqual([[], before]);
    await node.attach(slave);
    expect(await opens()).toBe(true);
  });

  // On cgroup v1 a rule does not show whose it is.
  const unaccounted = cgroupVersion === 2 ? 'takes them out' : 'cannot know them';
  test(`with rules in a container that no checkpoint accounts for ${unaccounted}`, async () => {
    await grantUnaccounted();
    const had = policyOf(target);
    await start();
    expect(policyOf(target)).toEqual(cgroupVersion === 2 ? before : had);
    expect(await target.run('true </dev/dri/card0')).toContain(
      cgroupVersion === 2 ? 'Operation not permitted' : 'No such device',
    );
  });

  test(`with a damaged checkpoint of rules in a container ${unaccounted}, and keeps the file`, async () => {
    await node.attach(slave);
    const had = policyOf(target);
    writeFileSync(file(), readFileSync(file(), 'utf8').slice(0, 100));
    await start();
    expect(policyOf(target)).toEqual(cgroupVersion === 2 ? before : had);
    expect(readFileSync(file(), 'utf8')).toHaveLength(100);
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: true });
    await expect(node.attach(slave)).rejects.toMatchObject({ type: 'SlaveEnded' });
  });

  test(`with more rules in a container than its mounts have ${unaccounted}, and keeps the mounts`, async () => {
    await node.attach(slave);
    await grantUnaccounted();
    await start();
    expect(await opens()).toBe(true);
    expect(await target.run('true </dev/dri/card0')).toContain(
      cgroupVersion === 2 ? 'Operation not permitted' : 'No such device',
    );
  });
});
