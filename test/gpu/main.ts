import { readTracesBefore, startCluster, stopCluster } from '../run/cluster.ts';
import { jest } from '../run/jest.ts';
import { prepare } from '../run/prepare.ts';
import { Report } from '../run/report.ts';
import { lacking } from './gpus.ts';

/**
 * `npm run test:gpu`: the tests that need a GPU of NVIDIA; those of the node worker in a container, then those of the whole product with
 * NVIDIA's device plugin, built from its source. They are never skipped: without a GPU they are refused.
 */
const problem = lacking();
if (problem !== undefined) {
  console.error(problem);
  process.exit(1);
}
await prepare();
const report = new Report();
await report.run({ name: 'kernel', budgetSeconds: 60, run: () => jest('gpu-kernel', '--runInBand') });
const traces = await readTracesBefore(2);
const isReady = await report.run({ name: 'cluster start', budgetSeconds: 90, run: () => startCluster(2) });
if (isReady) await report.run({ name: 'cluster', budgetSeconds: 300, run: () => jest('gpu-cluster', '--runInBand') });
await report.run({ name: 'cluster stop', budgetSeconds: 20, run: () => stopCluster(traces) });
process.exitCode = report.end();
