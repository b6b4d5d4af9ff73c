import { basename, dirname, join } from 'node:path';
import type { Progress } from '../progress.ts';
import { type Patience, WrongDigest } from './download.ts';
import type { Downloads } from './downloads.ts';
import { fetchRelease } from './release.ts';
import { ByteShare } from './share.ts';
import { namesOf, type PlacedTool } from './table.ts';

export interface FetchToolsOptions {
  readonly downloads: Downloads;
  readonly arch: string;
  readonly patience: Patience;
  readonly signal: AbortSignal;
}

/** Downloads tools side by side. What cannot be had is said, one sentence per reason, and its folder is missing as before. */
export async function fetchTools(
  progress: Progress,
  tools: readonly PlacedTool[],
  options: FetchToolsOptions,
): Promise<void> {
  if (options.downloads.foreign !== undefined)
    progress.say(
      `WARNING: downloads are checked with ${options.downloads.foreign}, not with this repository's digests.`,
    );
  const share = new ByteShare();
  const failed = new Map<string, PlacedTool[]>();
  const fetchAll = async (): Promise<void> => {
    await Promise.all(tools.map((one) => fetchOne(one, share, options, failed)));
    if (failed.size > 0) throw new Error('Not all could be downloaded.');
  };
  await progress.step(`download ${namesOf(tools)}`, fetchAll, () => share.text()).catch(() => undefined);
  options.signal.throwIfAborted();
  for (const [reason, those] of failed) progress.say(`${reason}: ${namesOf(those)} will be built.`);
}

async function fetchOne(
  one: PlacedTool,
  meter: ByteShare,
  options: FetchToolsOptions,
  failed: Map<string, PlacedTool[]>,
): Promise<void> {
  // Beside the tools' folders, as whoever looks for a tool looks for the beginning of a name.
  const scratch = join(dirname(one.folder), 'downloads', basename(one.folder));
  try {
    await fetchRelease(one.tool, one.folder, { ...options, scratch, meter });
  } catch (err) {
    const message = err instanceof Error ? err.message : String(err);
    const reason = err instanceof WrongDigest ? `WARNING: ${message}. It was deleted, and is not used` : message;
    failed.set(reason, [...(failed.get(reason) ?? []), one]);
  }
}
