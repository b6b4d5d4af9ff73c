import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PORTS } from './addresses.ts';
import { cgroupsBelow, hierarchies } from './cgroup.ts';
import { processesOf } from './leftovers.ts';
import { MOUNT_POINTS } from './node/paths.ts';
import { run } from './run.ts';
import type { StatePaths } from './state.ts';
import { readSysctls } from './sysctls.ts';

/** What a machine has of all that a cluster makes: `kind: name`, one line each. */
export type Traces = readonly string[];

/** Cgroups that come and go with the machine's own services and sessions. */
const NOT_OURS = ['init.scope', 'machine.slice', 'system.slice', 'user.slice'];

/** To be read before a start and after the stop. */
export async function readTraces(paths: StatePaths): Promise<Traces> {
  const kinds = {
    mount: mounts(),
    'network namespace': entriesOf('/run/netns'),
    cgroup: hierarchies().flatMap(cgroupsOf),
    'nft table': await lines('nft', ['list', 'tables']),
    link: (await lines('ip', ['-br', 'link'])).map((line) => line.split(/[ @]/)[0] ?? ''),
    route: await lines('ip', ['route', 'show', 'table', 'all']),
    'listening socket': (await lines('ss', ['-Hltn'])).filter(isOurs),
    process: processesOf(paths.root, []).map((pid) => `${pid} ${commandOf(pid)}`),
    'kernel setting': Object.entries(readSysctls()).map(([name, value]) => `${name} = ${value}`),
    folder: MOUNT_POINTS.filter((folder) => existsSync(folder)),
  };
  return Object.entries(kinds).flatMap(([kind, names]) => names.map((name) => `${kind}: ${name}`));
}

/** What is there now and is not in `before`; empty when the stop has left nothing. */
export async function leftSince(before: Traces, paths: StatePaths): Promise<Traces> {
  const known = new Set(before);
  return (await readTraces(paths)).filter((trace) => !known.has(trace));
}

/** Empty ones: nobody else's processes are in what we have left, and ours are told by themselves. */
const cgroupsOf = (hierarchy: string): string[] =>
  cgroupsBelow(hierarchy)
    .filter((folder) => !NOT_OURS.some((name) => folder.startsWith(join(hierarchy, name))))
    .filter((folder) => [folder, ...cgroupsBelow(folder)].every(isEmpty));

function isEmpty(cgroup: string): boolean {
  try {
    return readFileSync(join(cgroup, 'cgroup.procs'), 'utf8') === '';
  } catch {
    // It has ended since it was listed.
    return false;
  }
}

/** Target and type of each; the columns of /proc/PID/mountinfo are those of proc_pid_mountinfo(5). */
function mounts(): string[] {
  const text = readFileSync('/proc/self/mountinfo', 'utf8').trimEnd();
  return text.split('\n').map((line) => {
    const [fields = '', filesystem = ''] = line.split(' - ');
    return `${fields.split(' ')[4]} (${filesystem.split(' ')[0]})`;
  });
}

function entriesOf(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

async function lines(command: string, args: readonly string[]): Promise<string[]> {
  return (await run(command, args)).split('\n').filter(Boolean);
}

function isOurs(socket: string): boolean {
  return Object.values(PORTS).some((port) => socket.includes(`:${port} `));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '(ended)';
  }
}
