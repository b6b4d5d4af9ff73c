import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

/** Tests ask for the same few programs again and again. */
const built = new Map<string, Buffer>();

/** Builds a program that needs nothing of the image it runs in. Throws with what the compiler says. */
export function buildProgram(source: string, output: string): void {
  build(['gcc', '-static', '-O1', '-pthread'], source, output);
}

/** Builds what `[compiler, ...options]` makes of `source`. Throws with what the compiler says. */
export function build([compiler = '', ...options]: readonly string[], source: string, output: string): void {
  const key = JSON.stringify([compiler, options, source]);
  const program = built.get(key);
  if (program !== undefined) return writeFileSync(output, program, { mode: 0o755 });
  const args = [...options, '-x', 'c', '-o', output, '-'];
  const { status, stderr } = spawnSync(`/usr/bin/${compiler}`, args, { input: source, encoding: 'utf8' });
  if (status !== 0) throw new Error(`Cannot build "${output}": ${stderr}`);
  built.set(key, readFileSync(output));
}
