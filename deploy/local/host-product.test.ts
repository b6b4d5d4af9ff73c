import { expect, test } from '@jest/globals';
import { hostSpecs } from './host-product.ts';
import { clusterNode } from './node/node.ts';
import { planNodes } from './node/plan.ts';
import { statePaths } from './state.ts';
import { TOOLS, type ToolFolders } from './tools.ts';

test('hostSpecs() runs each process where production does', () => {
  const state = statePaths({ DEVICE_MOUNTER_STATE: '/state' });
  const tools = Object.fromEntries(TOOLS.map(({ name }) => [name, `/tools/${name}`])) as ToolFolders;
  const nodes = planNodes(2, { hybrid: true, v2Controllers: [] }).map((plan) => clusterNode(plan, state, tools));
  const specs = hostSpecs({ kubeconfig: '/kubeconfig', temporalAddress: 'temporal:7233', nodes }, '/keys');
  expect(specs.map(({ name, mountNamespace }) => [name, mountNamespace])).toEqual([
    ['product-apiserver', undefined],
    ['product-control', undefined],
    ['product-node-1-worker', '/state/namespaces/node-1'],
    ['product-node-1-plugin', '/state/namespaces/node-1'],
    ['product-node-2-worker', '/state/namespaces/node-2'],
    ['product-node-2-plugin', '/state/namespaces/node-2'],
  ]);
  const ports = specs.flatMap(({ args }) => args.filter((argument) => argument.startsWith('--health-port')));
  expect(new Set(ports).size).toBe(5);
});
