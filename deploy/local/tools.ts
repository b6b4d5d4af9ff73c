import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Progress } from './progress.ts';
import { cacheFolder } from './state.ts';
import { buildTools, moduleOf } from './tools/build.ts';
import { PATIENCE, type Patience } from './tools/download.ts';
import { type Downloads, downloadsOf } from './tools/downloads.ts';
import { fetchTools } from './tools/fetch.ts';
import { filesOf } from './tools/release.ts';
import { type PlacedTool, TOOLS, type Tool, type ToolFolders } from './tools/table.ts';

export { TOOLS, type ToolFolders } from './tools/table.ts';

/** What is to be done before every tool is there. */
export interface ToolPlan {
  readonly all: readonly PlacedTool[];
  /** Not there yet, to be downloaded or else built. */
  readonly toFetch: readonly PlacedTool[];
  /** Not there yet, to be built in any case. */
  readonly toBuild: readonly PlacedTool[];
  readonly downloads: Downloads | undefined;
}

export interface EnsureOptions {
  readonly env: NodeJS.ProcessEnv;
  /** All that there are, unless a test needs fewer. */
  readonly tools: readonly Tool[];
  /** Ends it at the next step. */
  readonly signal: AbortSignal;
  readonly patience: Patience;
}

/** As Go and the makers of releases name it. */
const ARCH = process.arch === 'x64' ? 'amd64' : process.arch;

/** Reads what is missing, and changes nothing. `DEVICE_MOUNTER_TOOLS` names a folder of ready-made tools. Throws as `downloadsOf`. */
export function planTools(env: NodeJS.ProcessEnv, tools: readonly Tool[] = TOOLS): ToolPlan {
  const downloads = downloadsOf(env);
  const cache = env['DEVICE_MOUNTER_TOOLS'] ?? join(cacheFolder(env), 'tools');
  const all = tools.map((tool) => ({ tool, folder: join(cache, folderName(tool, downloads)) }));
  const missing = all.filter(({ folder }) => !existsSync(folder));
  const canFetch = ({ tool }: PlacedTool): boolean =>
    downloads !== undefined && filesOf(tool, downloads, ARCH) !== undefined;
  return { all, downloads, toFetch: missing.filter(canFetch), toBuild: missing.filter((one) => !canFetch(one)) };
}

/**
 * Name, version and a digest of all that decides what is built, so that a changed flag is a new folder. A release of the same version
 * is as good as a build; digests that this repository does not answer for make folders of their own.
 */
function folderName(tool: Tool, downloads: Downloads | undefined): string {
  const digest = createHash('sha256').update(JSON.stringify([tool.packages, tool.ldflags, tool.tags]));
  const module = moduleOf(tool);
  for (const file of readdirSync(module).sort()) digest.update(readFileSync(join(module, file)));
  if (downloads?.foreign !== undefined) digest.update(JSON.stringify([...downloads.digests]));
  return `${tool.name}-${tool.version}-${digest.digest('hex').slice(0, 8)}`;
}

/**
 * Downloads or builds what is missing, and answers where everything is. Throws with the end of the compiler's output when a build
 * fails; a download that fails is said, and built.
 */
export async function ensureTools(
  progress: Progress,
  logFolder: string,
  options: Partial<EnsureOptions> = {},
): Promise<ToolFolders> {
  const all: EnsureOptions = {
    env: process.env,
    tools: TOOLS,
    signal: new AbortController().signal,
    patience: PATIENCE,
    ...options,
  };
  const plan = planTools(all.env, all.tools);
  if (plan.downloads !== undefined && plan.toFetch.length > 0)
    await fetchTools(progress, plan.toFetch, { downloads: plan.downloads, arch: ARCH, ...all });
  const missing = plan.all.filter(({ folder }) => !existsSync(folder));
  await buildTools(progress, missing, logFolder, all.signal);
  return Object.fromEntries(plan.all.map(({ tool, folder }) => [tool.name, folder])) as ToolFolders;
}
