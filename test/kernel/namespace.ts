import { mkdirSync } from 'node:fs';
import { cgroupHost } from '../../deploy/local/cgroup.ts';
import { createNamespace, makeMountPoints, prepareNamespaceFolder } from '../../deploy/local/node/namespace.ts';
import { nodePaths } from '../../deploy/local/node/paths.ts';
import { planNodes } from '../../deploy/local/node/plan.ts';
import { run } from '../../deploy/local/run.ts';
import { statePaths } from '../../deploy/local/state.ts';

/** Makes the namespaces of two nodes below the folder STATE and prints what they show as their kubelet's: `namespace.ts STATE`. */
const state = statePaths({ DEVICE_MOUNTER_STATE: process.argv[2] });
mkdirSync(state.root, { recursive: true });
makeMountPoints(state);
await prepareNamespaceFolder(state.namespaces);
for (const plan of planNodes(2, cgroupHost())) {
  const paths = nodePaths(state, plan.name);
  await createNamespace(plan, paths);
  // The last of those that lie on each other there.
  const look = 'findmnt -no FSROOT /var/lib/kubelet | tail -n 1';
  console.log((await run('nsenter', [`--mount=${paths.namespace}`, 'sh', '-c', look])).trim());
}
