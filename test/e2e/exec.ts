import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { APISERVER_URL } from '../../deploy/local/addresses.ts';
import { CLUSTER } from './cluster.ts';
import { NAMESPACE } from './lane.ts';

/** What a command left: its exit status and both outputs. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** First byte of each message, and the subprotocol that has them: https://kubernetes.io/docs/reference/using-api/deprecation-guide, KEP-4006. */
const CHANNELS = { stdout: 1, stderr: 2, status: 3 } as const;
const PROTOCOL = 'v5.channel.k8s.io';

interface ExecStatus {
  readonly status?: string;
  readonly message?: string;
  readonly details?: { readonly causes?: readonly { readonly reason?: string; readonly message?: string }[] };
}

const pem = (name: string): Buffer => readFileSync(join(CLUSTER.paths.pki, name));
const tls = { ca: pem('ca.crt'), cert: pem('admin.crt'), key: pem('admin.key') };

/** Runs a shell line inside of the pod's first container, as `kubectl exec` does. Throws when it could not be started. */
export function inPod(pod: string, line: string): Promise<Outcome> {
  return exec(pod, ['/bin/sh', '-c', line]);
}

/** Whether the pod's first container can open a device for reading and writing. Where there is none, a shell alone would make a file. */
export async function canOpen(pod: string, path: string): Promise<boolean> {
  return (await inPod(pod, `test -c ${path} && exec 3<>${path}`)).code === 0;
}

/**
 * Starts a process `sleep` in the container that keeps a device open, and answers its pid in there. The shell opens the device, so
 * that it is open before the process is, which this waits for: until then its name is the shell's.
 */
export async function holdOpen(pod: string, path: string, how: '>' | '<>' = '<>'): Promise<string> {
  const isSleep = 'read name </proc/$!/comm && test "$name" = sleep';
  const line = `test -c ${path} || exit 1; exec 3${how}${path}; sleep 100000 >/dev/null 2>&1 & until ${isSleep}; do :; done; echo $!`;
  const { code, stdout, stderr } = await inPod(pod, line);
  if (code !== 0) throw new Error(`Cannot hold ${path} open in ${pod}: ${stderr || 'it is not there'}`);
  return stdout.trim();
}

/** As `inPod`, for a command without a shell. */
export function exec(pod: string, command: readonly string[], namespace = NAMESPACE): Promise<Outcome> {
  const query = new URLSearchParams({ stdout: 'true', stderr: 'true' });
  for (const word of command) query.append('command', word);
  const url = `${APISERVER_URL}/api/v1/namespaces/${namespace}/pods/${pod}/exec?${query.toString()}`;
  return new Promise((resolve, reject) => {
    const received: Record<number, Buffer[]> = {};
    const socket = new WebSocket(url.replace('https:', 'wss:'), PROTOCOL, tls);
    const textOf = (channel: number): string => Buffer.concat(received[channel] ?? []).toString();
    socket.on('message', (message: Buffer) => (received[message[0] ?? 0] ??= []).push(message.subarray(1)));
    socket.on('error', (cause) => reject(new Error(`Cannot run "${command.join(' ')}" in ${pod}`, { cause })));
    socket.on('close', () => {
      const status = textOf(CHANNELS.status);
      const code = status === '' ? undefined : exitCodeOf(JSON.parse(status) as ExecStatus);
      if (code === undefined)
        reject(new Error(`Cannot run "${command.join(' ')}" in ${pod}: ${status || 'broken off'}`));
      else resolve({ code, stdout: textOf(CHANNELS.stdout), stderr: textOf(CHANNELS.stderr) });
    });
  });
}

/** `undefined` when the command did not run. */
function exitCodeOf({ status, details }: ExecStatus): number | undefined {
  if (status === 'Success') return 0;
  const code = details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  return code === undefined ? undefined : Number(code);
}
