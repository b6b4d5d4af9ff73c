import { describe, expect, test } from '@jest/globals';
import { statePaths } from '../state.ts';
import { TOOLS, type ToolFolders } from '../tools.ts';
import { cniConfig, containerdConfig, kubeletConfig } from './config.ts';
import { namespaceScript } from './namespace.ts';
import { nodePaths } from './paths.ts';
import { type NodePlan, planNodes } from './plan.ts';

const STATE = statePaths({ DEVICE_MOUNTER_STATE: '/state' });
const FOLDERS = Object.fromEntries(TOOLS.map(({ name }) => [name, `/tools/${name}`])) as ToolFolders;
const [V1, V2, SYSTEMD] = planNodes(3, { hybrid: true, v2Controllers: [] }) as [NodePlan, NodePlan, NodePlan];

const configOf = (plan: NodePlan): string => containerdConfig(plan, nodePaths(STATE, plan.name), FOLDERS);

describe('containerdConfig()', () => {
  test.each([
    [V1, '/tools/runc/runc', false],
    [V2, '/tools/runc-without-limits/runc-without-limits', false],
    [SYSTEMD, '/tools/runc-without-limits/runc-without-limits', true],
  ])('runs the runc of $name', (plan, runc, systemd) => {
    expect(configOf(plan)).toContain(`BinaryName = "${runc}"`);
    expect(configOf(plan)).toContain(`SystemdCgroup = ${systemd}`);
  });

  test('keeps the nodes apart', () => {
    expect(configOf(V1)).toContain('root = "/state/node-1/containerd"');
    expect(configOf(V2)).toContain('root = "/state/node-2/containerd"');
  });
});

describe('kubeletConfig()', () => {
  test.each([
    [V1, { cgroupsPerQOS: true, enforceNodeAllocatable: ['pods'], cgroupDriver: 'cgroupfs', address: '10.97.0.11' }],
    [V2, { cgroupsPerQOS: false, enforceNodeAllocatable: [], cgroupDriver: 'cgroupfs', address: '10.97.0.12' }],
    [SYSTEMD, { cgroupsPerQOS: false, cgroupDriver: 'systemd', address: '10.97.0.13' }],
  ])('fits the cgroups of $name', (plan, expected) => {
    expect(kubeletConfig(plan, STATE)).toMatchObject(expected);
  });

  test('lets nobody in without a certificate or token', () => {
    expect(kubeletConfig(V1, STATE)).toMatchObject({
      authentication: { anonymous: { enabled: false }, x509: { clientCAFile: '/state/pki/ca.crt' } },
      authorization: { mode: 'Webhook' },
      readOnlyPort: 0,
    });
  });
});

test('cniConfig() gives each node a range of its own', () => {
  const ranges = [V1, V2].map((plan) => JSON.stringify(cniConfig(plan, nodePaths(STATE, plan.name))));
  expect(ranges[0]).toContain('"subnet":"10.244.0.0/23"');
  expect(ranges[1]).toContain('"subnet":"10.244.2.0/23"');
});

describe('namespaceScript()', () => {
  test('shows node-2 of a hybrid host only cgroup v2', () => {
    expect(namespaceScript(V1, nodePaths(STATE, 'node-1'))).not.toContain('/sys/fs/cgroup');
    expect(namespaceScript(V2, nodePaths(STATE, 'node-2'))).toContain(
      "mount --bind '/sys/fs/cgroup/unified' /sys/fs/cgroup\n",
    );
  });

  test('survives blanks and quotes in the folder of the checkout', () => {
    const state = statePaths({ DEVICE_MOUNTER_STATE: "/it's here" });
    expect(namespaceScript(V1, nodePaths(state, 'node-1'))).toContain(
      "mount --bind '/it'\\''s here/node-1/kubelet' '/var/lib/kubelet'\n",
    );
  });
});
