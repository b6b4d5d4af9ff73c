import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadCluster } from '../../deploy/local/cluster.ts';
import { loadImage } from '../../deploy/local/image/load.ts';
import { productImage } from '../../deploy/local/image/product.ts';
import { run } from '../../deploy/local/run.ts';
import { cacheFolder, REPOSITORY, statePaths } from '../../deploy/local/state.ts';
import { readTracesBefore, startCluster, stopCluster } from '../run/cluster.ts';
import { jest } from '../run/jest.ts';
import { prepare } from '../run/prepare.ts';
import { Report } from '../run/report.ts';
import type { Result } from '../run/suite.ts';

/** `npm run test:upgrade -- COMMIT`: upgrades from the version of that commit or tag to this checkout, and goes back, with devices mounted. */
const [commit, ...rest] = process.argv.slice(2);
if (commit === undefined || rest.length > 0) throw new Error('Usage: npm run test:upgrade -- COMMIT');

await prepare('tests');
const paths = statePaths(process.env);
const folder = mkdtempSync(join(tmpdir(), 'device-mounter-older-'));
const report = new Report();

const upgrade = async (): Promise<Result> => {
  const archive = join(folder, 'source.tar');
  await run('git', ['archive', '--output', archive, commit], { cwd: REPOSITORY });
  await run('tar', ['-xf', archive, '-C', folder]);
  rmSync(archive);
  const image = await productImage(join(cacheFolder(process.env), 'images'), folder);
  await loadImage(paths, loadCluster(paths.root).nodes, image);
  const older = { image: image.tag, deploy: join(folder, 'deploy') };
  return await jest('e2e-long', '--runInBand', 'older-version', '--globals', JSON.stringify({ older }));
};

try {
  const traces = await readTracesBefore();
  if (await report.run({ name: 'cluster start', budgetSeconds: 60, run: () => startCluster() }))
    await report.run({ name: `upgrade from ${commit}`, budgetSeconds: 600, run: upgrade });
  await report.run({ name: 'cluster stop', budgetSeconds: 20, run: () => stopCluster(traces) });
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = report.end();
