import { readdirSync, readFileSync } from 'node:fs';
import { identityOf, type ProcessIdentity } from '../../deploy/local/identity.ts';

/** Script of each process of the product, as in its command line. */
export const SCRIPTS = {
  apiserver: 'apiserver/main.ts',
  'control worker': 'workflows/main.ts',
  'node worker': 'node-worker/main.ts',
  plugin: 'device-plugin/main.ts',
} as const;
export type ProductPart = keyof typeof SCRIPTS;

export interface ProductProcess {
  readonly part: ProductPart;
  readonly node: string;
  readonly identity: ProcessIdentity;
}

/** The part that a process is, by its /proc/PID/cmdline; `undefined` for any other process. */
export function productPart(cmdline: string): ProductPart | undefined {
  const words = cmdline.split('\0');
  return (Object.keys(SCRIPTS) as ProductPart[]).find((part) => words.includes(SCRIPTS[part]));
}

/** The node of a process in a container of the cluster under `root`, by its /proc/PID/mountinfo; `undefined` for any other. */
export function nodeIn(root: string, mountinfo: string): string | undefined {
  const [, after] = mountinfo.split(`upperdir=${root}/`, 2);
  return after?.split('/', 1)[0];
}

/** The processes of the product as they run now: /proc knows, also while kube-apiserver does not answer. */
export function productProcesses(root: string): ProductProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const part = productPart(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
        const node = part && nodeIn(root, readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
        const identity = node && identityOf(Number(pid));
        return part && node && identity ? [{ part, node, identity }] : [];
      } catch {
        // It has ended since the folder was read.
        return [];
      }
    });
}

/** Whether all of it stands still, by a signal or by a debugger: proc_pid_stat(5). */
export function isStopped({ pid }: ProcessIdentity): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat[stat.lastIndexOf(')') + 2] === 'T';
  } catch {
    return false;
  }
}
