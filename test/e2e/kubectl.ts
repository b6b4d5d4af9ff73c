import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { CLUSTER } from './cluster.ts';
import type { Outcome } from './exec.ts';

const execFileAsync = promisify(execFile);
/** Only ends what hangs. */
const HANGS_MS = 300_000;

/** Runs the real kubectl on the local cluster, to whatever end: for tests of what kubectl does. Others use `kube.ts`. `input` is its standard input. */
export async function kubectl(args: readonly string[], input?: string): Promise<Outcome> {
  const running = execFileAsync(CLUSTER.kubectl, ['--kubeconfig', CLUSTER.kubeconfig, ...args], {
    maxBuffer: 16 << 20,
  });
  running.child.stdin?.end(input ?? '');
  try {
    return { code: 0, ...(await running) };
  } catch (err) {
    const { code, stdout, stderr } = err as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

/** As `kubectl`, for commands that must succeed; answers the standard output. */
export async function kubectlOk(args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await kubectl(args, input);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
  return stdout;
}

/**
 * Runs a kubectl that does not end by itself until its output matches, ends it, and answers the output. Tells `onOutput` all of it
 * so far, each time there is more.
 */
export async function kubectlUntil(
  args: readonly string[],
  pattern: RegExp,
  onOutput: (output: string) => void = () => undefined,
): Promise<string> {
  const child = spawn(CLUSTER.kubectl, ['--kubeconfig', CLUSTER.kubeconfig, ...args], { timeout: HANGS_MS });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      onOutput(output);
      if (pattern.test(output)) child.kill();
    });
  }
  await once(child, 'exit');
  if (!pattern.test(output)) throw new Error(`kubectl ${args.join(' ')} ended without ${pattern}: ${output}`);
  return output;
}
