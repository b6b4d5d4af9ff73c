import { spawnSync } from 'node:child_process';

/** Builds a program that needs nothing of the image it runs in. Throws with what the compiler says. */
export function buildProgram(source: string, output: string): void {
  const args = ['-static', '-O1', '-pthread', '-x', 'c', '-o', output, '-'];
  const { status, stderr } = spawnSync('/usr/bin/gcc', args, { input: source, encoding: 'utf8' });
  if (status !== 0) throw new Error(`Cannot build "${output}": ${stderr}`);
}
