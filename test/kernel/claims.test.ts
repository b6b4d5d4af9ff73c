import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { SlaveRef } from '../../contract/device-mount.ts';
import { AllocationGuard } from '../../node-worker/guards/allocation-guard.ts';
import { SlaveGuard } from '../../node-worker/guards/slave-guard.ts';
import { attach } from '../../node-worker/steps/attach.ts';
import { detach } from '../../node-worker/steps/detach.ts';
import { inTime, MemoryNode, mountRequest } from '../node-worker/memory-node.ts';
import { cleanUp, runtimeOf, startContainer, type TestContainer } from './container.ts';
import { FUSE } from './devices.ts';
import { engine } from './engine.ts';
import { CGROUP_VERSIONS, WORK } from './places.ts';

const PATH = '/dev/claimed';
const ID = 'gpu.example.com/n1/gpu-0';
const CLAIM = { name: 'gpu', resourceClaimName: 'gpu-of-web' };

let hostRoot: string;
beforeAll(() => {
  cleanUp();
  mkdirSync(WORK, { recursive: true });
  hostRoot = mkdtempSync(join(WORK, 'host-'));
  mkdirSync(join(hostRoot, 'var/run/cdi'), { recursive: true });
  const { type, major, minor } = FUSE;
  const containerEdits = { deviceNodes: [{ path: PATH, type, major, minor, permissions: 'rw' }] };
  const spec = { cdiVersion: '0.6.0', kind: 'gpu.example.com/claim', devices: [{ name: 'gpu-0', containerEdits }] };
  writeFileSync(join(hostRoot, 'var/run/cdi/gpu.json'), JSON.stringify(spec));
});
afterAll(cleanUp);

let node: MemoryNode;
let container: TestContainer;
let slaveContainer: TestContainer;
let slave: SlaveRef;
async function start(cgroupVersion: 1 | 2): Promise<void> {
  const { type, major, minor, access } = FUSE;
  container = await startContainer({ cgroupVersion });
  slaveContainer = await startContainer({ cgroupVersion, devices: [{ path: PATH, type, major, minor, access }] });
  node = await MemoryNode.make();
  slave = node.addSlave('s1');
  node.allocations = [];
  node.addPod({ ...slave, claims: [{ name: CLAIM.name, claim: CLAIM.resourceClaimName }] });
  const devices = [{ id: ID, requests: ['gpu'], cdiDevices: ['gpu.example.com/claim=gpu-0'] }];
  node.claims = [{ namespace: slave.namespace, name: CLAIM.resourceClaimName, podUids: [slave.uid], devices }];
  node.container = runtimeOf(container);
  const containers = { ...node.deps.containers, allRunning: async () => [runtimeOf(slaveContainer)] };
  node.deps = { ...node.deps, engine, hostRoot, containers };
}
afterEach(async () => {
  await container.stop();
  await slaveContainer.stop();
  node.remove();
});

const mount = () => {
  const signed = mountRequest({ deviceType: 'GENERIC', resources: {}, claims: [CLAIM] });
  return attach(node.deps, { signed, slaves: [slave] }, { signal: inTime() });
};
const opened = (): Promise<string> => container.run(`test -c ${PATH} && true <>${PATH} && echo opened || echo refused`);
/** By a node of its own making: the rule alone decides. */
const ruleAllows = (): Promise<string> =>
  container.run(`mknod /tmp/own c ${FUSE.major} ${FUSE.minor}; true <>/tmp/own && echo allowed; rm /tmp/own`);

describe.each(CGROUP_VERSIONS)('the device of a claim on cgroup v%i', (cgroupVersion) => {
  beforeEach(() => start(cgroupVersion));

  test('can be opened while it is mounted', async () => {
    expect((await mount()).devices).toMatchObject([{ id: ID, nodes: [{ path: PATH }] }]);
    expect([await opened(), await ruleAllows()]).toEqual(['opened\n', 'allowed\n']);
    await detach(node.deps, { mounts: [{ namespace: 'default', name: 'm1' }], slaves: [slave], force: false });
    expect([await opened(), await ruleAllows()]).toEqual(['refused\n', expect.stringContaining('not permitted')]);
  });

  test('is taken back once the kubelet has prepared it for another claim', async () => {
    await mount();
    const guard = new SlaveGuard({ deps: node.deps, tellOwner: async () => undefined, retryMs: 10 });
    const allocations = new AllocationGuard({
      deps: node.deps,
      release: (mount, why, notice) => guard.release(mount, why, notice),
      pollMs: 60_000,
    });
    await allocations.look();
    await guard.idle();
    expect(await opened()).toBe('opened\n');
    node.claims = node.claims.map((claim) => ({ ...claim, name: 'of-another', podUids: ['another-uid'] }));
    await allocations.look();
    await guard.idle();
    expect([await opened(), await ruleAllows()]).toEqual(['refused\n', expect.stringContaining('not permitted')]);
    await allocations.stop();
    await guard.stop();
  });
});
