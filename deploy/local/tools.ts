import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Progress } from './progress.ts';
import { cacheFolder } from './state.ts';
import { buildTool, downloadModules, moduleOf } from './tools/build.ts';
import { PATIENCE, type Patience, WrongDigest } from './tools/download.ts';
import { type Downloads, downloadsOf } from './tools/downloads.ts';
import { fetchRelease, filesOf } from './tools/release.ts';
import { ByteShare, Share } from './tools/share.ts';
import { TOOLS, type Tool, type ToolFolders } from './tools/table.ts';

export { TOOLS, type ToolFolders } from './tools/table.ts';

/** A tool, and the folder that its binaries have or are to have. */
export interface PlacedTool {
  readonly tool: Tool;
  readonly folder: string;
}

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
  await fetchTools(progress, plan, all);
  const missing = [...plan.toBuild, ...plan.toFetch].filter(({ folder }) => !existsSync(folder));
  await buildTools(progress, logFolder, inOrder(missing), all.signal);
  return Object.fromEntries(plan.all.map(({ tool, folder }) => [tool.name, folder])) as ToolFolders;
}

/** Small ones first: how long they took tells how long the others will take. */
const inOrder = (tools: readonly PlacedTool[]): PlacedTool[] =>
  tools.toSorted((one, other) => one.tool.usualMinutes - other.tool.usualMinutes);

const namesOf = (tools: readonly PlacedTool[]): string => tools.map(({ tool }) => tool.name).join(', ');

/** Downloads side by side. What cannot be had is said, one sentence per reason, and left to be built. */
async function fetchTools(progress: Progress, plan: ToolPlan, options: EnsureOptions): Promise<void> {
  const { toFetch, downloads } = plan;
  if (downloads === undefined || toFetch.length === 0) return;
  if (downloads.foreign !== undefined)
    progress.say(`WARNING: downloads are checked with ${downloads.foreign}, not with the digests of this repository.`);
  const share = new ByteShare();
  const failures = new Map<string, PlacedTool[]>();
  const fetchOne = async (one: PlacedTool): Promise<void> => {
    try {
      await fetchRelease(one.tool, one.folder, {
        downloads,
        arch: ARCH,
        scratch: join(one.folder, '..', 'downloads', basename(one.folder)),
        patience: options.patience,
        meter: share,
        signal: options.signal,
      });
    } catch (err) {
      const reason = err instanceof Error ? err.message : String(err);
      const text = err instanceof WrongDigest ? `WARNING: ${reason}. It was deleted, and is not used` : reason;
      failures.set(text, [...(failures.get(text) ?? []), one]);
    }
  };
  const title = `download ${namesOf(toFetch)}`;
  await progress.step(
    title,
    () => Promise.all(toFetch.map(fetchOne)),
    () => share.text(),
  );
  options.signal.throwIfAborted();
  for (const [reason, tools] of failures) progress.say(`${reason}: ${namesOf(tools)} must be built.`);
}

/** One after the other: two linkers at once need too much memory. Sources are downloaded beside the first build. */
async function buildTools(
  progress: Progress,
  logFolder: string,
  missing: readonly PlacedTool[],
  signal: AbortSignal,
): Promise<void> {
  const share = new Share(missing.map(({ tool }) => tool));
  const enough = new AbortController();
  const sources = missing.map(({ tool }) =>
    downloadModules(tool, join(logFolder, `download-${tool.name}.log`), enough.signal),
  );
  try {
    for (const [index, { tool, folder }] of missing.entries()) {
      signal.throwIfAborted();
      const title = `build ${tool.name} ${tool.version} (${index + 1} of ${missing.length})`;
      share.begin(tool.name, performance.now());
      const build = (): Promise<void> => buildTool(tool, folder, join(logFolder, `build-${tool.name}.log`));
      await progress.step(title, build, () => share.text(performance.now()));
      share.end(performance.now());
    }
  } finally {
    enough.abort();
    await Promise.all(sources);
  }
}
