import { readFileSync } from 'node:fs';
import { type PublicKey, parsePublicKeys } from '../contract/signature.ts';

/**
 * Answers the function that tells the keys in `file` as they are now: a mounted ConfigMap changes while we run. A file that
 * cannot be read or used leaves the keys as they were, and `onProblem` is told why, once.
 * @throws from the answered function, as long as there never were keys
 */
export function publicKeysOf(file: string, onProblem: (err: unknown) => void): () => readonly PublicKey[] {
  let seen: { readonly text: string; readonly keys: readonly PublicKey[] } | undefined;
  let told = '';
  return () => {
    try {
      const text = readFileSync(file, 'utf8');
      if (text !== seen?.text) seen = { text, keys: parsePublicKeys(text) };
    } catch (err) {
      if (seen === undefined) throw err;
      if (String(err) !== told) onProblem(err);
      told = String(err);
    }
    return seen.keys;
  };
}
