import { type PublicKey, parsePublicKeys } from '../contract/signature.ts';
import { parsedFile } from './parsed-file.ts';

/** The function that tells the keys in `file` as they are now, see `parsedFile`. */
export function publicKeysOf(file: string, onProblem: (err: unknown) => void): () => readonly PublicKey[] {
  return parsedFile(file, parsePublicKeys, onProblem);
}
