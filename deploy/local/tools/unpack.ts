import { createReadStream, createWriteStream } from 'node:fs';
import { basename, join, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';

/**
 * Takes `members` out of a gzipped tar, each to its base name in `folder`, executable. Nothing else of the archive is used: no other
 * member, no path, owner, mode or link. Throws when a member is missing, there twice or no plain file.
 */
export async function unpack(archive: string, members: readonly string[], folder: string): Promise<void> {
  const missing = new Set(members);
  const entries = extract();
  const take = async (): Promise<void> => {
    for await (const entry of entries) {
      const name = normalize(entry.header.name);
      if (!members.includes(name)) entry.resume();
      else if (entry.header.type !== 'file') throw new Error(`"${name}" in the archive is no plain file`);
      else await pipeline(entry, createWriteStream(join(folder, basename(name)), { flags: 'wx', mode: 0o755 }));
      missing.delete(name);
    }
  };
  await Promise.all([pipeline(createReadStream(archive), createGunzip(), entries), take()]);
  if (missing.size > 0) throw new Error(`the archive lacks ${[...missing].join(', ')}`);
}
