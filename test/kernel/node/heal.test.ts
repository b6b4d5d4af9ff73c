import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { detach } from '../../../node-worker/steps/detach.ts';
import { cleanUp } from '../container.ts';
import { CARD, FUSE, policyOf } from '../devices.ts';
import { CGROUP_VERSIONS } from '../places.ts';
import { KernelNode } from './node.ts';

const MOUNT = { namespace: 'default', name: 'm1' };
const OPEN = 'true </dev/fuse && echo opened';

beforeAll(cleanUp);
afterAll(cleanUp);

describe.each(CGROUP_VERSIONS)('a node worker with runc on cgroup v%i', (cgroupVersion) => {
  let node: KernelNode;
  let target: NonNullable<KernelNode['target']>;
  beforeEach(async () => {
    node = await KernelNode.make();
    target = node.target = await node.start({ cgroupVersion });
  });
  afterEach(() => node.stop());

  /** Makes the container's rules as they were before any mount. */
  async function takeRulesAway(before: readonly string[]): Promise<void> {
    const engine = node.deps.engine;
    const handle = await engine.openContainer({ containerId: target.id });
    try {
      const grants = node.deps.store.records().flatMap(({ devices }) => devices.map(({ grant }) => grant));
      for (const grant of grants) void engine.revoke(handle, grant, []);
    } finally {
      handle.close();
    }
    expect(policyOf(target)).toEqual(before);
  }

  test('gives back a node and rules that somebody has taken away, and leaves no trace at the end', async () => {
    const before = policyOf(target);
    const slave = node.memory.addSlave('s1');
    await node.attach(slave);
    expect(await target.run(OPEN)).toBe('opened\n');
    await target.run('rm /dev/fuse');
    await node.look();
    expect(await target.run(OPEN)).toBe('opened\n');
    await takeRulesAway(before);
    expect(await target.run(OPEN)).not.toContain('opened');
    await node.look();
    expect(await target.run(OPEN)).toBe('opened\n');
    expect(node.told.map((notice) => notice.signal)).toEqual(['driftHealed', 'driftHealed']);
    expect(JSON.stringify(node.told[1])).toContain('device rules, /dev/fuse');
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    expect(policyOf(target)).toEqual(before);
  });

  test('follows a container that restarts', async () => {
    await node.attach(node.memory.addSlave('s1'));
    await node.end(target);
    node.target = undefined;
    await node.look();
    const next = (node.target = await node.start({ cgroupVersion }));
    expect(await next.run(OPEN)).not.toContain('opened');
    await node.look();
    expect(await next.run(OPEN)).toBe('opened\n');
    expect(node.told).toEqual([{ signal: 'containerRestarted', argument: { containerId: next.id, reapplied: true } }]);
  });

  test('takes from the running slave what it has, whatever gave it', async () => {
    node.slave = await node.start({ cgroupVersion, devices: [{ ...CARD, access: 'rw' }, FUSE] });
    const slave = node.memory.addSlave('s1');
    await node.attach(slave, { deviceType: 'GENERIC' });
    expect(await target.run('stat -c "%a %t:%T" /dev/dri/card0; true </dev/dri/card0')).toContain('660 e2:0\n');
    expect(await target.run(OPEN)).toBe('opened\n');
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    expect(await target.run('ls /dev/dri')).toContain('No such file');
  });

  test('keeps what the running slave has too, and releases what it has not', async () => {
    node.slave = await node.start({ cgroupVersion, devices: [FUSE] });
    const slave = node.memory.addSlave('s1');
    await node.attach(slave);
    await node.look();
    expect(node.deps.store.get(MOUNT)?.confirmed).toBe(true);
    await detach(node.deps, { mounts: [MOUNT], slaves: [slave], force: false });
    node.memory.allocations = [];
    node.slave = await node.start({ cgroupVersion });
    // Another request: each serves the slaves of its first use only.
    await node.attach(node.memory.addSlave('s2'), { deadlineSeconds: 1_800 });
    await node.look();
    expect(node.told).toMatchObject([{ signal: 'release' }]);
    expect(JSON.stringify(node.told)).toContain('/dev/fuse (c 10:229 rw) are attached, the running slave has none');
    expect(await target.run(OPEN)).not.toContain('opened');
  });

  test('never follows what a container puts in the place of a node, and goes on when it is gone', async () => {
    await node.attach(node.memory.addSlave('s1'));
    for (const trap of ['ln -s /tmp/there /dev/fuse', 'touch /dev/fuse', 'mkdir /dev/fuse', 'mknod /dev/fuse c 1 3']) {
      await target.run(`rm -rf /dev/fuse; ${trap}`);
      await node.look();
      expect(await target.run('ls /tmp')).toBe('');
    }
    // Once, since each of them only makes it last.
    const why = expect.stringMatching('the container has (another kind of file|c 1:3) there');
    expect(node.told).toEqual([{ signal: 'degraded', argument: { at: expect.any(String), why } }]);
    await target.run('rm -rf /dev/fuse');
    await node.look();
    expect(await target.run(OPEN)).toBe('opened\n');
    expect(node.told.map(({ signal }) => signal)).toEqual(['degraded', 'driftHealed']);
  });

  test('prints what the container may open and why', async () => {
    await node.attach(node.memory.addSlave('s1'));
    const command = fileURLToPath(new URL('../../../node-worker/inspect.ts', import.meta.url));
    const before = policyOf(target);
    const args = [command, 'inspect', `containerd://${target.id}`, '--state-dir', node.memory.stateDir];
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--no-warnings', ...args], { encoding: 'utf8' });
    expect([stderr, status]).toEqual(['', 0]);
    expect(stdout).toMatch(
      /\/dev\/fuse +c 10:229 +rwm +rwm +ours: mount default\/m1 of jane, hostdev.k8s.io\/dev_fuse \/dev\/fuse\n/,
    );
    expect(stdout).toContain(`cgroup     v${cgroupVersion} ${target.cgroup}`);
    expect(stdout).toContain(cgroupVersion === 1 ? '  c 10:229 rw\n' : '  ours: c 10:229 rw\n');
    expect(policyOf(target)).toEqual(before);
  });
});
