import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** SHA-256 in lower-case hexadecimal digits of each file, by its address without `https://`. */
export type Digests = ReadonlyMap<string, string>;

/** Where release files are taken from, and what must be in them. */
export interface Downloads {
  /** What comes before an address: `https://`, or a mirror's URL that ends with a slash. */
  readonly base: string;
  readonly digests: Digests;
  /** A file of digests that somebody else answers for than this repository. */
  readonly foreign?: string;
}

/**
 * Reads where to download from: `DEVICE_MOUNTER_DOWNLOADS` names a mirror or says `off`; without it the makers' own hosts are asked,
 * but not when `CI` is set. Answers `undefined` when everything is to be built. Throws one sentence for what it cannot read.
 *
 * `DEVICE_MOUNTER_DIGESTS` names a file that replaces `SHA256SUMS`, for a mirror of archives that somebody built. What comes from it
 * never mixes with what the pinned digests prove, see `folderName`.
 */
export function downloadsOf(env: NodeJS.ProcessEnv): Downloads | undefined {
  const named = env['DEVICE_MOUNTER_DOWNLOADS'] ?? '';
  const foreign = env['DEVICE_MOUNTER_DIGESTS'];
  if (foreign !== undefined && (named === '' || named === 'off'))
    throw new Error(
      'Cannot use DEVICE_MOUNTER_DIGESTS: it belongs to a mirror, and DEVICE_MOUNTER_DOWNLOADS names none',
    );
  if (named === 'off' || (named === '' && isSet(env['CI']))) return undefined;
  const digests = parseDigests(readFileSync(foreign ?? join(import.meta.dirname, 'SHA256SUMS'), 'utf8'));
  const base = named === '' ? 'https://' : mirrorBase(named);
  return { base, digests, ...(foreign === undefined ? {} : { foreign }) };
}

const isSet = (value: string | undefined): boolean => value !== undefined && value !== '' && value !== 'false';

function mirrorBase(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new Error(`Cannot use DEVICE_MOUNTER_DOWNLOADS "${text}": it is neither "off" nor a URL with http or https`);
  return text.endsWith('/') ? text : `${text}/`;
}

/** Reads what `sha256sum` writes; lines that start with `#` are comments. Throws with the number of the line that is neither. */
export function parseDigests(text: string): Digests {
  const digests = new Map<string, string>();
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const [, digest, address] = /^([0-9a-f]{64}) [ *](\S+)$/.exec(line) ?? [];
    if (digest === undefined || address === undefined)
      throw new Error(`Cannot read digests: line ${index + 1} is not a SHA-256, two spaces and an address`);
    digests.set(address, digest);
  }
  return digests;
}
