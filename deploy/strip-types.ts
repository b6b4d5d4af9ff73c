import { globSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { basename, join } from 'node:path';

/**
 * Makes every TypeScript file below `folder` a link to a JavaScript file beside it, which is the same without its types.
 * Imports and commands still name the `.ts` files, and Node follows the links: in an image it so needs neither the time
 * nor the memory (12 MiB of each process) for removing types.
 */
export function stripTypes(folder: string): void {
  for (const name of globSync('**/*.ts', { cwd: folder, exclude: ['**/node_modules'] })) {
    const source = join(folder, name);
    const script = source.replace(/\.ts$/, '.js');
    const text = stripTypeScriptTypes(readFileSync(source, 'utf8'));
    // Keeps the mode of the file: one is a command.
    renameSync(source, script);
    writeFileSync(script, text);
    symlinkSync(basename(script), source);
  }
}

if (import.meta.main) stripTypes(process.argv[2] ?? '.');
