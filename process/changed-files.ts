import { readFileSync } from 'node:fs';

/**
 * Calls `onChange` once, when the content of one of `files` is another than now. Looks every `periodMs`: a Secret's volume is
 * replaced by links, which file notifications see as something else on each system. Answers the function that stops it.
 */
export function onChangedFiles(files: readonly string[], periodMs: number, onChange: () => void): () => void {
  const before = contentOf(files);
  const period = setInterval(() => {
    const now = contentOf(files);
    // While one is being replaced there is nothing to start with.
    if (now === undefined || now === before) return;
    clearInterval(period);
    onChange();
  }, periodMs);
  period.unref();
  return () => clearInterval(period);
}

function contentOf(files: readonly string[]): string | undefined {
  try {
    return JSON.stringify(files.map((file) => readFileSync(file, 'base64')));
  } catch {
    return undefined;
  }
}
