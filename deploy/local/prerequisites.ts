import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Progress } from './progress.ts';
import { runToFile } from './run.ts';

/** What more than a cluster with two nodes is to run. */
export type Purpose = 'node-3' | 'tests';

/** A Debian package that the local cluster needs, and a file that shows that it is installed. */
export interface SystemPackage {
  readonly name: string;
  readonly shownBy: readonly string[];
  /** A command that fails without it, where no file tells. */
  readonly provedBy?: readonly [string, ...string[]];
  readonly why: string;
  /** The local cluster with two nodes does without it. */
  readonly onlyFor?: readonly Purpose[];
}

export const PACKAGES: readonly SystemPackage[] = [
  { name: 'libseccomp-dev', shownBy: ['/usr/include/seccomp.h'], why: 'runc is built with seccomp' },
  { name: 'pkg-config', shownBy: ['pkg-config'], why: 'finds libseccomp for the build' },
  { name: 'nftables', shownBy: ['nft'], why: 'kube-proxy writes its rules with it' },
  { name: 'iptables', shownBy: ['iptables'], why: 'the CNI plugins look for it' },
  { name: 'iproute2', shownBy: ['ip', 'ss'], why: 'gives the API server an address of its own' },
  { name: 'busybox-static', shownBy: ['busybox'], why: 'the demo pod runs it' },
  {
    name: 'systemd',
    shownBy: ['/lib/systemd/systemd', 'systemctl'],
    why: 'the first process of node-3, and of a node in the kernel tests',
    onlyFor: ['node-3', 'tests'],
  },
  {
    name: 'dbus',
    shownBy: ['dbus-daemon'],
    why: 'runc asks systemd for cgroups by it',
    onlyFor: ['node-3', 'tests'],
  },
  { name: 'crun', shownBy: ['crun'], why: 'the kernel tests run containers with it too', onlyFor: ['tests'] },
  {
    name: 'btrfs-progs',
    shownBy: ['mkfs.btrfs', 'btrfs'],
    why: 'the kernel tests make a file system whose files have numbers of their own',
    onlyFor: ['tests'],
  },
  {
    name: 'musl-tools',
    shownBy: ['musl-gcc'],
    why: 'builds what a test runs in a container with musl',
    onlyFor: ['tests'],
  },
  { name: 'strace', shownBy: ['strace'], why: 'ends the node worker at a chosen system call', onlyFor: ['tests'] },
  { name: 'curl', shownBy: ['curl'], why: 'the tests run the examples of the guides', onlyFor: ['tests'] },
  { name: 'openssl', shownBy: ['openssl'], why: 'makes certificates for the tests', onlyFor: ['tests'] },
  {
    name: 'python3-venv',
    shownBy: ['python3'],
    provedBy: ['python3', '-c', 'import ensurepip, venv'],
    why: 'the fuzzer is installed with it',
    onlyFor: ['tests'],
  },
  {
    name: 'util-linux',
    shownBy: ['findmnt', 'nsenter', 'setpriv', 'taskset', 'unshare'],
    why: 'makes and enters the namespaces of nodes',
  },
  { name: 'buildah', shownBy: ['buildah'], why: 'builds the image of the product' },
  { name: 'mmdebstrap', shownBy: ['mmdebstrap'], why: 'makes the base of that image' },
  {
    name: 'debian-archive-keyring',
    shownBy: ['/usr/share/keyrings/debian-archive-keyring.gpg'],
    why: 'mmdebstrap checks the packages of that base with it',
  },
];

/** Whether `command` is on the PATH, or is the path of a file that exists. */
function isPresent(command: string): boolean {
  if (command.startsWith('/')) return existsSync(command);
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => existsSync(join(folder, command)));
}

function isInstalled({ shownBy, provedBy: [command, ...args] = ['true'] }: SystemPackage): boolean {
  return shownBy.every(isPresent) && spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** What is wrong with this machine, one sentence each; nothing is changed. */
export function missingPrerequisites(): string[] {
  const problems: string[] = [];
  if (process.platform !== 'linux') problems.push(`Linux is needed, this is ${process.platform}.`);
  if (process.getuid?.() !== 0) problems.push('Root is needed to make containers and cgroups: run it with sudo.');
  if (!isPresent('go')) problems.push('Go 1.26 is needed to build the servers: https://go.dev/doc/install');
  if (!isPresent('gcc')) problems.push('gcc is needed to build runc and pause: apt-get install gcc libc6-dev');
  if (!existsSync('/sys/fs/cgroup') || !statSync('/sys/fs/cgroup').isDirectory())
    problems.push('cgroups are needed: nothing is mounted on /sys/fs/cgroup.');
  return problems;
}

/** Packages that are needed and not installed. */
export function missingPackages(purpose?: Purpose): readonly SystemPackage[] {
  const needed = PACKAGES.filter(
    ({ onlyFor }) => onlyFor === undefined || (purpose !== undefined && onlyFor.includes(purpose)),
  );
  return needed.filter((each) => !isInstalled(each));
}

/** Installs missing system packages with apt, or throws naming the command that does. */
export async function ensureSystemPackages(progress: Progress, logFolder: string, purpose?: Purpose): Promise<void> {
  const missing = missingPackages(purpose);
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name);
  if (!isPresent('apt-get')) throw new Error(`Missing: ${names.join(', ')}. Install them with your package manager.`);
  for (const { name, why } of missing) progress.say(`  needs ${name}: ${why}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await progress.step(`install ${names.join(' ')}`, async () => {
    await runToFile('apt-get', ['update', '-q'], join(logFolder, 'apt-update.log'), { env });
    const install = ['install', '-q', '-y', '--no-install-recommends', ...names];
    await runToFile('apt-get', install, join(logFolder, 'apt-install.log'), { env });
  });
}
