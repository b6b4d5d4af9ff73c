import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { announceFirstStart } from '../../deploy/local/first-start.ts';
import { ensureSystemPackages, missingPrerequisites, type Purpose } from '../../deploy/local/prerequisites.ts';
import { Progress } from '../../deploy/local/progress.ts';
import { statePaths } from '../../deploy/local/state.ts';
import { ensureTools } from '../../deploy/local/tools.ts';
import { RESULTS } from './command.ts';

/** The suites find the servers in the cache; a first run builds them. Throws when the machine lacks something. */
export async function prepare(purpose?: Purpose): Promise<void> {
  mkdirSync(RESULTS, { recursive: true });
  const problems = missingPrerequisites();
  if (problems.length > 0) throw new Error(problems.join('\n'));
  const progress = new Progress(process.stdout);
  const log = join(statePaths(process.env).root, 'build-log');
  announceFirstStart(progress, process.env, purpose);
  await ensureSystemPackages(progress, log, purpose);
  await ensureTools(progress, log);
}
