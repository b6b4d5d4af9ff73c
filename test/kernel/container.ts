import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cgroupHost, hierarchies, removeTree } from '../../deploy/local/cgroup.ts';
import { membersOf } from '../../node-worker/kernel/cgroup-tree.ts';
import { initOf } from '../../node-worker/kernel/init-of.ts';
import { parseContainerInfo } from '../../node-worker/runtime/container-info.ts';
import type { RuntimeContainer } from '../../node-worker/runtime/cri.ts';
import { type BundleOptions, ociConfig, runcBinary } from './oci-config.ts';
import { NAME, PIDS_ROOT, V1_ROOT, V2_ROOT, WORK } from './places.ts';
import { restoreSysctls } from './sysctl.ts';
import type { NestedSystemd } from './systemd.ts';
import { unmountBelow } from './unmount-below.ts';

const MAX_PROCESSES = 200;
const APPLETS = [
  'sh',
  'cat',
  'ls',
  'mknod',
  'rm',
  'mkdir',
  'ln',
  'sleep',
  'kill',
  'stat',
  'echo',
  'mv',
  'true',
  'test',
  'dd',
  'touch',
  'chmod',
  'seq',
  'tail',
  'mount',
  'umount',
  'mkfifo',
  'rmdir',
  'unshare',
  'cp',
  'chroot',
  'cut',
  'grep',
];

/** A real container of a real runtime, whose init is a shell that the test types into. */
export interface TestContainer {
  readonly id: string;
  readonly cgroupVersion: 1 | 2;
  readonly pid: number;
  /** Absolute path of the container's cgroup. */
  readonly cgroup: string;
  readonly rootfs: string;
  /** Its device rules as a CRI runtime tells them. */
  readonly spec: RuntimeContainer['spec'];
  /** Runs a line in the container's init shell and gives what it printed, both streams. */
  run(line: string): Promise<string>;
  /** Asks the runtime to change its resources, as the kubelet does. */
  update(resources: object): void;
  /** Makes a cgroup below the container's, as a runtime inside it would; `rules` are `deny c 1:7 rwm`. v1 only. */
  nest(name: string, rules: readonly string[]): string;
  stop(): Promise<void>;
}

export interface StartOptions extends Partial<Omit<BundleOptions, 'cgroupsPath'>> {
  readonly cgroupVersion: 1 | 2;
  readonly runtime?: 'runc' | 'crun';
  /** Start it as a scope of this systemd, of the same cgroup version, by the systemd cgroup driver. */
  readonly systemd?: NestedSystemd;
  /** Prepares the root file system before the container starts. */
  readonly prepare?: (rootfs: string) => void;
}

export async function startContainer(options: StartOptions): Promise<TestContainer> {
  const { cgroupVersion, runtime = 'runc' } = options;
  const id = randomBytes(32).toString('hex');
  mkdirSync(WORK, { recursive: true });
  const bundle = mkdtempSync(join(WORK, 'bundle-'));
  // The root of a user namespace must come through.
  chmodSync(bundle, 0o755);
  const rootfs = makeRootfs(bundle);
  options.prepare?.(rootfs);
  const place = placeOf(id, cgroupVersion, options.systemd);
  const limits = options.systemd === undefined ? processLimit() : {};
  const config = ociConfig({ ...options, cgroupsPath: place.cgroupsPath, limits });
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  const command = runtimeCommand(runtime, cgroupVersion, options.systemd);
  const child = spawn(command[0] ?? '', [...command.slice(1), 'run', '--bundle', bundle, id], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const shell = shellOf(child);
  try {
    const ready = await shell.run('echo $$');
    if (options.pidNamespaceOf === undefined && ready.trim() !== '1')
      throw new Error(`the container's shell is not its init: ${ready}`);
  } catch (err) {
    deleteContainer(command, id);
    rmSync(bundle, { recursive: true, force: true });
    throw err;
  }
  const { cgroup } = place;
  // Not what the runtime says: under the nested systemd it speaks of another pid namespace.
  const pid = initOf(membersOf(cgroup));
  if (pid === undefined) throw new Error(`the container's cgroup ${cgroup} is empty`);
  limitProcesses(id, pid);
  return {
    id,
    cgroupVersion,
    pid,
    cgroup,
    rootfs,
    spec: parseContainerInfo(JSON.stringify({ pid, runtimeSpec: config })).spec,
    run: shell.run,
    update(resources) {
      const file = join(bundle, 'resources.json');
      writeFileSync(file, JSON.stringify(resources));
      runtimeSync(command, ['update', '--resources', file, id]);
    },
    nest(name, rules) {
      const nested = join(cgroup, name);
      mkdirSync(nested, { recursive: true });
      for (const rule of rules) {
        const [action, ...words] = rule.split(' ');
        writeFileSync(join(nested, `devices.${action}`), words.join(' '));
      }
      return nested;
    },
    async stop() {
      try {
        deleteContainer(command, id);
        await shell.ended;
      } finally {
        if (PIDS_ROOT !== undefined) removeTree(join(PIDS_ROOT, NAME, id));
        rmSync(bundle, { recursive: true, force: true });
      }
    },
  };
}

function placeOf(id: string, version: 1 | 2, systemd?: NestedSystemd): { cgroup: string; cgroupsPath: string } {
  if (systemd !== undefined) {
    const cgroup = `${systemd.cgroup}/kubepods.slice/cri-containerd-${id}.scope`;
    return { cgroup, cgroupsPath: `kubepods.slice:cri-containerd:${id}` };
  }
  const root = version === 1 ? `${V1_ROOT}/devices` : V2_ROOT;
  return { cgroup: `${root}/${NAME}/${id}`, cgroupsPath: `/${NAME}/${id}` };
}

/** A fork bomb of a test is held by the v1 controller, whichever version its container is on. */
function limitProcesses(id: string, pid: number): void {
  if (PIDS_ROOT === undefined) return;
  const cgroup = join(PIDS_ROOT, NAME, id);
  mkdirSync(cgroup, { recursive: true });
  writeFileSync(join(cgroup, 'pids.max'), String(MAX_PROCESSES));
  writeFileSync(join(cgroup, 'cgroup.procs'), String(pid));
}

/** Without that controller the runtime holds it, or nothing can. Throws then. */
function processLimit(): object {
  if (PIDS_ROOT !== undefined) return {};
  if (!cgroupHost().v2Controllers.includes('pids')) throw new Error('Cannot hold fork bombs: no pids controller');
  return { pids: { limit: MAX_PROCESSES } };
}

function makeRootfs(bundle: string): string {
  const rootfs = join(bundle, 'rootfs');
  for (const directory of ['bin', 'proc', 'dev', 'tmp', 'etc']) mkdirSync(join(rootfs, directory), { recursive: true });
  copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'));
  for (const applet of APPLETS) symlinkSync('busybox', join(rootfs, 'bin', applet));
  return rootfs;
}

/** On a hybrid host a runtime believes in pure v2 when the unified hierarchy is bound on /sys/fs/cgroup. */
function runtimeCommand(runtime: 'runc' | 'crun', cgroupVersion: 1 | 2, systemd?: NestedSystemd): readonly string[] {
  const binary = runtime === 'runc' ? [runcBinary()] : ['env', `LD_PRELOAD=${withoutMemlock()}`, '/usr/bin/crun'];
  if (systemd !== undefined)
    return [...systemd.enter, ...binary, '--root', '/run/containers-of-test', '--systemd-cgroup'];
  const base = [...binary, '--root', join(WORK, `state-${runtime}-v${cgroupVersion}`)];
  if (cgroupVersion === 1 && runtime === 'runc') return base;
  if (cgroupVersion === 1) {
    // crun refuses a hybrid host whose unified hierarchy has controllers.
    const script = `mount --make-rprivate / && umount ${V2_ROOT} && exec "$@"`;
    return ['unshare', '--mount', 'sh', '-c', script, 'sh', ...base];
  }
  if (V2_ROOT === V1_ROOT) return base;
  const script = `mount --make-rprivate / && mount --bind ${V2_ROOT} ${V1_ROOT} && exec "$@"`;
  return ['unshare', '--mount', 'sh', '-c', script, 'sh', ...base];
}

/** `run` in the foreground deletes the container as well once it has ended. */
function deleteContainer(command: readonly string[], id: string): void {
  try {
    runtimeSync(command, ['delete', '--force', id]);
  } catch (err) {
    if (!/No such file or directory|does not exist/.test(String(err))) throw err;
  }
}

/**
 * A library that makes setrlimit(2) succeed: crun raises RLIMIT_MEMLOCK, which kernels from 5.11 on do not use for
 * programs, and ends where it may not.
 */
function withoutMemlock(): string {
  const library = join(WORK, 'setrlimit.so');
  if (!existsSync(library)) {
    const input = 'int setrlimit(int resource, const void *limit) { return 0; }';
    const { status, stderr } = spawnSync('/usr/bin/gcc', ['-shared', '-fPIC', '-x', 'c', '-o', library, '-'], {
      input,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`Cannot build "${library}": ${stderr}`);
  }
  return library;
}

function runtimeSync(command: readonly string[], args: readonly string[]): string {
  const { stdout, stderr, status } = spawnSync(command[0] ?? '', [...command.slice(1), ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
  return stdout;
}

interface Shell {
  readonly run: (line: string) => Promise<string>;
  readonly ended: Promise<void>;
}

function shellOf(child: ChildProcess): Shell {
  let output = '';
  let wake: (() => void) | undefined;
  let over = false;
  const collect = (chunk: Buffer): void => {
    output += chunk.toString();
    wake?.();
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  child.stdin?.on('error', () => {});
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => {
      over = true;
      wake?.();
      resolve();
    });
  });
  const run = async (line: string): Promise<string> => {
    const end = `end-${randomBytes(6).toString('hex')}`;
    output = '';
    child.stdin?.write(`{ ${line}\n} 2>&1; echo ${end}\n`);
    while (!output.includes(end)) {
      if (over) throw new Error(`the container ended: ${output}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return output.slice(0, output.indexOf(end));
  };
  return { run, ended };
}

/** Ends what an earlier, killed run left, and removes the cgroups that all containers of the tests share. */
export function cleanUp(): void {
  restoreSysctls();
  const left = join(V2_ROOT, NAME, 'systemd');
  if (existsSync(left)) writeFileSync(join(left, 'cgroup.kill'), '1');
  const leftOfV1 = join(V1_ROOT, 'systemd', NAME);
  if (existsSync(leftOfV1)) for (const pid of membersOf(leftOfV1)) process.kill(pid, 'SIGKILL');
  for (const state of existsSync(WORK) ? readdirSync(WORK).filter((name) => name.startsWith('state-')) : []) {
    const [, runtime, version] = state.split('-') as [string, 'runc' | 'crun', string];
    const command = runtimeCommand(runtime, version === 'v1' ? 1 : 2);
    for (const id of readdirSync(join(WORK, state))) deleteContainer(command, id);
  }
  unmountBelow(WORK);
  rmSync(WORK, { recursive: true, force: true });
  const pids = PIDS_ROOT === undefined ? [] : [PIDS_ROOT];
  for (const hierarchy of [...hierarchies(), ...pids]) removeTree(join(hierarchy, NAME));
}

/** The container as its runtime tells of it. */
export function runtimeOf({ id, pid, spec }: TestContainer): RuntimeContainer {
  return { id, pid, spec, runtimeHandler: '', runtimeType: undefined };
}
