import { join } from 'node:path';
import { productImage } from '../../deploy/local/image/product.ts';
import { ensureSystemPackages, missingPrerequisites } from '../../deploy/local/prerequisites.ts';
import { Progress } from '../../deploy/local/progress.ts';
import { statePaths } from '../../deploy/local/state.ts';
import { ensureTools } from '../../deploy/local/tools.ts';
import { ensureSchemathesis } from '../fuzz/schemathesis.ts';
import { IMAGES } from './host.ts';

/** Downloads and builds what starts and tests would there, where no network is. Throws when the machine lacks something. */
export async function prepare(): Promise<void> {
  const problems = missingPrerequisites();
  if (problems.length > 0) throw new Error(problems.join('\n'));
  const progress = new Progress(process.stdout);
  const log = join(statePaths(process.env).root, 'build-log');
  await ensureSystemPackages(progress, log, 'tests');
  await ensureTools(progress, log);
  await ensureSchemathesis();
  await productImage(IMAGES);
}
