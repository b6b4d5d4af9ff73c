import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { getJson } from './kubectl.ts';

const execFileAsync = promisify(execFile);

export interface Answer {
  readonly code: number;
  readonly body: unknown;
}

/** Calls the apiserver's own port, past kube-apiserver. Throws when there is no HTTP answer. */
export async function curl(args: readonly string[], path: string): Promise<Answer> {
  const service = await getJson<{ spec: { clusterIP: string } }>([
    'service',
    'device-mounter-apiserver',
    '--namespace=device-mounter',
  ]);
  const url = `https://${service?.spec.clusterIP}${path}`;
  const { stdout } = await execFileAsync('curl', [
    '--silent',
    '--show-error',
    '--insecure',
    '--max-time',
    '20',
    '--write-out',
    '\n%{http_code}',
    ...args,
    url,
  ]);
  const end = stdout.lastIndexOf('\n');
  return { code: Number(stdout.slice(end + 1)), body: JSON.parse(stdout.slice(0, end)) as unknown };
}
