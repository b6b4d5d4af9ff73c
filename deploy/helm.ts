import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './local/run.ts';
import { ensureTool } from './local/tools/on-demand.ts';
import { HELM } from './local/tools/table.ts';

export const CHART = join(import.meta.dirname, 'chart');

/** Runs Helm, which is built at the first call on a machine. Answers what it prints. @throws with what it complains of */
export type Helm = (...args: readonly string[]) => Promise<string>;

/** The program's file. */
export const helmProgram = async (): Promise<string> => join(await ensureTool(HELM), 'helm');

/** Helm, without plugins or settings of this machine. */
export async function ensureHelm(): Promise<Helm> {
  const command = await helmProgram();
  return async (...args) => {
    const home = mkdtempSync(join(tmpdir(), 'helm-'));
    try {
      const env = { PATH: process.env['PATH'], HOME: home, KUBECONFIG: join(home, 'none') };
      return await run(command, [...args], { env });
    } finally {
      rmSync(home, { recursive: true });
    }
  };
}
