import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeTree } from '../../deploy/local/cgroup.ts';
import { forgetIdentity, identityOf, livePid, writeIdentity } from '../../deploy/local/identity.ts';
import { initScript, MOUNT_CGROUP2, unitFiles } from '../../deploy/local/node/systemd-files.ts';
import { cacheFolder, REPOSITORY } from '../../deploy/local/state.ts';
import { until } from '../../deploy/local/wait.ts';

/** A systemd as the first process of namespaces of its own, which show cgroup v2 and nothing else. */
export interface NestedHost {
  /** What to put before a command so that it runs there, in the checkout. */
  readonly enter: readonly [string, ...string[]];
  readonly env: NodeJS.ProcessEnv;
  /** Ends everything in it and removes its cgroups. */
  stop(): Promise<void>;
}

const LOCAL = join(REPOSITORY, '.local');
const HOME = join(LOCAL, 'host-v2');
const PID_FILE = join(HOME, 'host.pid');
const LOG = join(HOME, 'systemd.log');
/** The checkout's `.local` there: on a real file system, which containerd's root needs. */
const STATE = join(HOME, 'local');
/** Of its own: two starts at a time would take files of images away from each other. */
export const IMAGES = join(HOME, 'images');
const CGROUPS = '/sys/fs/cgroup';
/** With the pid of this process: one of another checkout may run. */
const PREFIX = 'device-mounter-host-v2-';
/** Not below the state folder there: a cluster takes what lies in it for its own. */
const scratchOf = (pid: number): string => join(tmpdir(), `${PREFIX}${pid}`);
const NAMESPACES = ['--mount', '--pid', '--uts', '--ipc', '--cgroup', '--net'];
/** A file there that leads to the machine's network namespace: some settings of the kernel are only in that one. */
const MACHINE_NETWORK = '/run/machine-network';
/** Where the controllers belong to v1: the cgroup that counts its processes. In v2 nothing would end a fork bomb. */
const MACHINE_PIDS = '/run/machine-pids';
/** Far more than all tests need, far less than a machine has. */
const MAX_PROCESSES = '6000';

/** Throws when one of this checkout runs already, or with what systemd said when it is not up within 5 minutes. */
export async function startHost(): Promise<NestedHost> {
  const other = livePid(PID_FILE);
  if (other !== undefined) throw new Error(`Cannot start: process ${other} is the nested host of this checkout`);
  const cgroups = makeCgroups();
  writeFiles(cgroups);
  const starter = startInit(cgroups);
  try {
    const enter = await entrance(starter, cgroups);
    return { enter, env: environment(), stop: () => stop(starter, cgroups) };
  } catch (err) {
    await stop(starter, cgroups);
    throw err;
  }
}

/** Waits until it takes orders. */
async function entrance(starter: ChildProcess, cgroups: readonly string[]): Promise<NestedHost['enter']> {
  const hopeless = (): string | undefined => (starter.exitCode === null ? undefined : readFileSync(LOG, 'utf8'));
  const options = { timeoutMs: 300_000, everyMs: 50, hopeless };
  const pid = await until('the first process of the nested host', () => childOf(starter), options);
  const identity = identityOf(pid);
  if (identity !== undefined) writeIdentity(PID_FILE, identity);
  const inside = ['nsenter', `--target=${pid}`, ...NAMESPACES, `--wdns=${REPOSITORY}`, '--'];
  const enter = ['sh', '-c', `${joining(cgroups, '/visitors')} exec "$@"`, 'sh', ...inside] as const;
  const isUp = (): boolean =>
    spawnSync(enter[0], [...enter.slice(1), 'systemctl', 'is-active', '--quiet', 'dbus.service']).status === 0;
  await until('systemd of the nested host to take orders', isUp, options);
  return enter;
}

function writeFiles([, pids]: readonly string[]): void {
  const [units, cache] = [join(HOME, 'units'), cacheFolder(process.env)];
  for (const folder of [units, STATE, IMAGES, cache]) mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(unitFiles([]))) writeFileSync(join(units, name), text);
  const network = MACHINE_NETWORK.slice(1);
  const mounts = `${MOUNT_CGROUP2}\ntouch ${network}\nmount --bind /proc/${process.pid}/ns/net ${network}\nip link set lo up`;
  const counted = pids === undefined ? {} : { [pids]: MACHINE_PIDS };
  const shown = {
    ...counted,
    [REPOSITORY]: REPOSITORY,
    [STATE]: LOCAL,
    [cache]: cache,
    [IMAGES]: join(cache, 'images'),
  };
  writeFileSync(join(HOME, 'init.sh'), initScript({ scratch: scratchOf(process.pid), units, shown, mounts }));
}

/** Its part of the v2 hierarchy and, where the controllers belong to v1, of the one that counts processes. */
function makeCgroups(): readonly string[] {
  const hybrid = existsSync(join(CGROUPS, 'unified'));
  const roots = hybrid ? ['unified', 'pids'].map((name) => join(CGROUPS, name)) : [CGROUPS];
  for (const root of roots) removeAbandoned(root);
  const cgroups = roots.map((root) => join(root, `${PREFIX}${process.pid}`));
  for (const cgroup of cgroups) mkdirSync(join(cgroup, 'visitors'), { recursive: true });
  for (const limit of cgroups.map((cgroup) => join(cgroup, 'pids.max')))
    if (existsSync(limit)) writeFileSync(limit, MAX_PROCESSES);
  return cgroups;
}

/** Those of runs that were killed. */
function removeAbandoned(root: string): void {
  const names = readdirSync(root).filter((name) => name.startsWith(PREFIX));
  const abandoned = names.filter((name) => identityOf(Number(name.slice(PREFIX.length))) === undefined);
  for (const name of abandoned) removeTree(join(root, name));
}

const joining = (cgroups: readonly string[], below = ''): string =>
  cgroups.map((cgroup) => `echo $$ >${cgroup}${below}/cgroup.procs &&`).join(' ');

/** Whatever ends this process ends the first process there, and with it all others. */
function startInit(cgroups: readonly string[]): ChildProcess {
  const log = openSync(LOG, 'w');
  const unshare = ['unshare', ...NAMESPACES, '--fork', '--kill-child', 'sh', join(HOME, 'init.sh')];
  const start = ['--pdeathsig', 'KILL', 'sh', '-c', `${joining(cgroups)} exec "$@"`, 'sh', ...unshare];
  const child = spawn('setpriv', start, { stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  return child;
}

function childOf({ pid }: ChildProcess): number | undefined {
  const children = `/proc/${pid}/task/${pid}/children`;
  return (existsSync(children) && Number(readFileSync(children, 'utf8').split(' ')[0])) || undefined;
}

/** The one that `npm` was started with, but for what names places of the machine. */
function environment(): NodeJS.ProcessEnv {
  const { DEVICE_MOUNTER_STATE: _, ...env } = process.env;
  return { ...env, DEVICE_MOUNTER_MACHINE_NETWORK: MACHINE_NETWORK, DEVICE_MOUNTER_MACHINE_PIDS: MACHINE_PIDS };
}

/** The first process dies with `unshare`, and everything else there with it, though not at once. */
async function stop(starter: ChildProcess, cgroups: readonly string[]): Promise<void> {
  starter.kill('SIGKILL');
  const removed = (): boolean => cgroups.map(removeTree).every(Boolean);
  await until('the cgroups of the nested host to be removed', removed, { timeoutMs: 300_000 });
  if (existsSync(scratchOf(process.pid))) rmdirSync(scratchOf(process.pid));
  forgetIdentity(PID_FILE);
}
