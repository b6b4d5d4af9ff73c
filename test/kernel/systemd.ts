import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { hierarchies, removeTree } from '../../deploy/local/cgroup.ts';
import { initScript, MOUNT_CGROUP2, unitFiles } from '../../deploy/local/node/systemd-files.ts';
import { until } from './devices.ts';
import { NAME, V1_ROOT, V2_ROOT, WORK } from './places.ts';

/** A real systemd as init of namespaces of its own, with a D-Bus, on a part of the host's hierarchies. */
export interface NestedSystemd {
  readonly cgroupVersion: 1 | 2;
  /** Its root cgroup in the hierarchy that decides over devices, as the host sees it. */
  readonly cgroup: string;
  /** What to put before a command so that it runs inside. */
  readonly enter: readonly string[];
  systemctl(...args: readonly string[]): string;
  stop(): Promise<void>;
}

/** Of version 1, in the legacy layout: systemd's own, what decides over devices, and what else runc asks for. The rest it mounts itself. */
const V1_HIERARCHIES = ['systemd', 'devices', 'freezer', 'pids'] as const;

/** Inside; systemd takes the layout that it finds. */
const MOUNT_CGROUPS: Readonly<Record<1 | 2, string>> = {
  1: [
    'mount -t tmpfs cgroup sys/fs/cgroup',
    ...V1_HIERARCHIES.map((name) => {
      const option = name === 'systemd' ? 'none,name=systemd' : name;
      return `mkdir sys/fs/cgroup/${name}; mount -t cgroup -o ${option} cgroup sys/fs/cgroup/${name}`;
    }),
  ].join('\n'),
  2: MOUNT_CGROUP2,
};

/** Throws with what it said when it is not up within minutes. */
export async function startSystemd(cgroupVersion: 1 | 2): Promise<NestedSystemd> {
  const home = join(WORK, 'systemd');
  const [units, scratch, shown] = [join(home, 'units'), join(home, 'root'), { [WORK]: WORK }];
  mkdirSync(units, { recursive: true });
  for (const [name, text] of Object.entries(unitFiles([]))) writeFileSync(join(units, name), text);
  writeFileSync(join(home, 'init.sh'), initScript({ scratch, units, shown, mounts: MOUNT_CGROUPS[cgroupVersion] }));
  const cgroups = cgroupsOf(cgroupVersion);
  for (const cgroup of cgroups) makeCgroup(join(cgroup, 'visitors'));
  const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--net', '--cgroup'];
  const start = `${joinAll(cgroups)} && exec unshare ${namespaces.join(' ')} --fork --kill-child sh ${home}/init.sh`;
  const child = spawn('sh', ['-c', start], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = collect(child);
  const pid = await until(() => initOf(child.pid ?? 0), Boolean);
  const places = cgroups.map((cgroup) => join(cgroup, 'visitors'));
  // Made again where one is gone: systemd removes what is empty in hierarchies that it does not use.
  const visit = `mkdir -p ${places.join(' ')} && ${joinAll(places)} && exec nsenter --target ${pid} ${namespaces.join(' ')} "$@"`;
  const enter = ['sh', '-c', visit, 'sh'];
  const systemctl = (...args: readonly string[]): string => {
    const done = spawnSync('sh', [...enter.slice(1), 'systemctl', ...args], { encoding: 'utf8', timeout: 300_000 });
    if (done.status !== 0) throw new Error(`systemctl ${args.join(' ')}: ${done.stderr}${said()}`);
    return done.stdout;
  };
  await until(
    () => spawnSync('sh', [...enter.slice(1), 'systemctl', 'is-active', 'dbus.service'], { encoding: 'utf8' }).stdout,
    (state) => state === 'active\n',
  ).catch((err: unknown) => {
    throw new Error(`systemd did not come up: ${said()}`, { cause: err });
  });
  return { cgroupVersion, cgroup: cgroups[0], enter, systemctl, stop: () => kill(child, cgroups) };
}

/** The hierarchy that decides over devices first. Beside version 1 all: systemd makes its slices in each that it finds. */
function cgroupsOf(cgroupVersion: 1 | 2): readonly [string, ...string[]] {
  if (cgroupVersion === 2) return [below(V2_ROOT)];
  const devices = join(V1_ROOT, 'devices');
  return [
    below(devices),
    ...hierarchies()
      .filter((root) => root !== devices)
      .map(below),
  ];
}

const below = (hierarchy: string): string => join(hierarchy, NAME, 'systemd');

const joinAll = (cgroups: readonly string[]): string =>
  cgroups.map((cgroup) => `echo $$ >${cgroup}/cgroup.procs`).join(' && ');

/** With the CPUs and memory nodes of the cgroup above: a new cpuset of version 1 has none, and no process can join it; cpusets(7). */
function makeCgroup(folder: string): void {
  if (existsSync(folder)) return;
  makeCgroup(dirname(folder));
  mkdirSync(folder);
  for (const file of ['cpuset.cpus', 'cpuset.mems'].filter((name) => existsSync(join(folder, name))))
    writeFileSync(join(folder, file), readFileSync(join(dirname(folder), file)));
}

/** The child of `unshare --fork`. */
function initOf(pid: number): number {
  const children = `/proc/${pid}/task/${pid}/children`;
  return existsSync(children) ? Number(readFileSync(children, 'utf8').split(' ')[0]) : 0;
}

function collect(child: ChildProcess): () => string {
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  return () => text;
}

/** Its init dies with `unshare`, and everything in its pid namespace with it, though not at once. */
async function kill(child: ChildProcess, cgroups: readonly string[]): Promise<void> {
  child.kill('SIGKILL');
  await until(() => cgroups.map(removeTree).every(Boolean), Boolean);
}
