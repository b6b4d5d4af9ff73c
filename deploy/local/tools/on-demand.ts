import { join } from 'node:path';
import { Progress } from '../progress.ts';
import { statePaths } from '../state.ts';
import { planTools } from '../tools.ts';
import { buildTools } from './build.ts';
import type { Tool } from './table.ts';

/** Builds a tool that no start of the cluster waits for, at the first call on a machine. Answers the folder of its binaries. */
export async function ensureTool(tool: Tool): Promise<string> {
  const { all, toBuild } = planTools(process.env, [tool]);
  const log = join(statePaths(process.env).root, 'build-log');
  await buildTools(new Progress(process.stderr), toBuild, log, new AbortController().signal);
  return all[0]?.folder ?? '';
}
