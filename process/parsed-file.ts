import { readFileSync } from 'node:fs';

/**
 * Answers the function that tells what `file` says now: a mounted Secret or ConfigMap changes while we run. A file that cannot be read or
 * parsed leaves things as they were, and `onProblem` is told why, once.
 * @throws from the answered function, as long as the file could never be used
 */
export function parsedFile<T>(file: string, parse: (text: string) => T, onProblem: (err: unknown) => void): () => T {
  let seen: { readonly text: string; readonly value: T } | undefined;
  let told = '';
  return () => {
    try {
      const text = readFileSync(file, 'utf8');
      if (text !== seen?.text) seen = { text, value: parse(text) };
    } catch (err) {
      if (seen === undefined) throw err;
      if (String(err) !== told) onProblem(err);
      told = String(err);
    }
    return seen.value;
  };
}
