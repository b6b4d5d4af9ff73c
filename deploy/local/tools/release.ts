import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { sideBySide } from '../wait.ts';
import { download, type Meter, type Patience } from './download.ts';
import type { Downloads } from './downloads.ts';
import type { ReleaseFile, Tool } from './table.ts';
import { unpack } from './unpack.ts';

export interface FetchOptions {
  readonly downloads: Downloads;
  /** As Go names it: `amd64` or `arm64`. */
  readonly arch: string;
  /** Emptied first; what is not complete stays in it. On the file system of `folder`. */
  readonly scratch: string;
  readonly patience: Patience;
  readonly meter: Meter;
  readonly signal: AbortSignal;
}

/** The files of a tool's release with their digests, or `undefined` when one of them has none: then the tool is built. */
export function filesOf(
  tool: Tool,
  { digests }: Downloads,
  arch: string,
): readonly (ReleaseFile & { readonly digest: string })[] | undefined {
  const files = (tool.release ?? []).flatMap(({ address, members, ...file }) => {
    const own = address.replaceAll('{arch}', arch);
    const digest = digests.get(own);
    const inside = members?.map((member) => member.replaceAll('{arch}', arch));
    return digest === undefined ? [] : [{ ...file, address: own, digest, ...(inside && { members: inside }) }];
  });
  return files.length > 0 && files.length === tool.release?.length ? files : undefined;
}

/**
 * Makes `folder` of a tool's release: it appears complete, or not at all. Throws as `download` and `unpack` do.
 * Nothing is unpacked before all of its digest was seen to be right.
 */
export async function fetchRelease(tool: Tool, folder: string, options: FetchOptions): Promise<void> {
  const { downloads, arch, scratch } = options;
  const binaries = join(scratch, 'bin');
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(binaries, { recursive: true });
  const files = filesOf(tool, downloads, arch) ?? [];
  try {
    await sideBySide(
      options.signal,
      files.map(({ address, digest, members, binary }, index) => async (signal) => {
        const file = join(scratch, `${index}.part`);
        await download(new URL(`${downloads.base}${address}`), file, digest, { ...options, signal });
        if (members !== undefined) return unpack(file, members, binaries);
        chmodSync(file, 0o755);
        renameSync(file, join(binaries, binary ?? tool.name));
      }),
    );
    renameSync(binaries, folder);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
