import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runToFile } from '../run.ts';
import type { Tool } from './table.ts';

const GO_ENV = { ...process.env, GOFLAGS: '-mod=readonly', GOWORK: 'off' };

/** Folder of the Go module that pins the tool. */
export const moduleOf = (tool: Tool): string => join(import.meta.dirname, tool.name);

/** Makes `folder` of the tool's binaries, built from source. Throws with the end of the compiler's output. */
export async function buildTool(tool: Tool, folder: string, logFile: string): Promise<void> {
  const unfinished = `${folder}.building`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const output = join(unfinished, tool.binary ?? '/');
  const flags = ['-trimpath', '-buildvcs=false', '-ldflags', `-s -w ${tool.ldflags ?? ''}`.trim()];
  if (tool.tags !== undefined) flags.push('-tags', tool.tags);
  await runToFile('go', ['build', ...flags, '-o', output, ...tool.packages], logFile, {
    cwd: moduleOf(tool),
    env: GO_ENV,
  });
  // A killed build leaves only `.building`; the name without it appears complete or not at all.
  renameSync(unfinished, folder);
}

/**
 * Downloads the sources of a tool's modules. A failure is left to the build, which needs fewer of them and says what it lacks.
 */
export async function downloadModules(tool: Tool, logFile: string, signal: AbortSignal): Promise<void> {
  await runToFile('go', ['mod', 'download'], logFile, { cwd: moduleOf(tool), env: GO_ENV, signal }).catch(
    () => undefined,
  );
}
