import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CLUSTER } from './cluster.ts';

const execFileAsync = promisify(execFile);

/** What a command left: its exit status and both outputs. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the real kubectl on the local cluster, to whatever end. `input` is its standard input. */
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

/** The object as kube-apiserver has it now, or `undefined` when there is none. */
export async function getJson<T>(args: readonly string[]): Promise<T | undefined> {
  const { code, stdout, stderr } = await kubectl(['get', ...args, '-o', 'json']);
  if (code === 0) return JSON.parse(stdout) as T;
  if (stderr.includes('NotFound')) return undefined;
  throw new Error(`kubectl get ${args.join(' ')} ended with ${code}: ${stderr}`);
}
