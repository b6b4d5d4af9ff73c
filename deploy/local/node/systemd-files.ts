import { join } from 'node:path';
import { GO_VARIABLES } from '../server.ts';
import type { ToolFolders } from '../tools.ts';
import { quoted } from './namespace.ts';
import type { NodePaths } from './paths.ts';

/** The programs of a node with a systemd of its own are units there. */
export interface UnitSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly path: string;
  readonly logFile: string;
}

const TARGET = 'node.target';

/** systemd.exec(5) and systemd.service(5): a word in double quotes, with `%` and `$` doubled. */
function word(text: string): string {
  return `"${text.replaceAll(/[\\"]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$')}"`;
}

function serviceUnit({ command, args, path, logFile }: UnitSpec): string {
  // Delegate: runc makes the cgroups below; KillMode: containers outlive a restart of containerd.
  return `[Unit]
DefaultDependencies=no
After=dbus.service
[Service]
Environment=${word(`PATH=${path}`)}
PassEnvironment=${Object.keys(GO_VARIABLES).join(' ')}
ExecStart=${[command, ...args].map(word).join(' ')}
Delegate=yes
KillMode=process
StandardOutput=append:${logFile}
StandardError=append:${logFile}
`;
}

/** File name → text of everything in the node's `/etc/systemd/system`. */
export function unitFiles(services: readonly UnitSpec[]): Readonly<Record<string, string>> {
  const bus = ['@/usr/bin/dbus-daemon', '@dbus-daemon', '--system', '--address=systemd:', '--nofork', '--nopidfile'];
  return {
    [TARGET]: '[Unit]\nDefaultDependencies=no\nWants=dbus.socket dbus.service\n',
    // systemd joins the bus only when it was the one that opened the socket.
    'dbus.socket': '[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n',
    'dbus.service': `[Unit]
DefaultDependencies=no
Requires=dbus.socket
After=dbus.socket
[Service]
Type=notify
NotifyAccess=main
ExecStart=${bus.join(' ')} --systemd-activation --syslog-only
`,
    ...Object.fromEntries(services.map((service) => [`${service.name}.service`, serviceUnit(service)])),
  };
}

/** Folder of `unitFiles`, on the host. */
export const unitFolder = (paths: NodePaths): string => join(paths.root, 'units');

/** The root file system of a systemd in namespaces of its own: a copy-on-write view of the machine's files. */
export interface NestedRoot {
  /** Folder to put it together in. What is mounted there ends with the namespaces. */
  readonly scratch: string;
  /** Folder of `unitFiles`. */
  readonly units: string;
  /** Folder of the machine → its name inside. For what lies on other file systems than `/`, or must outlive the namespaces. */
  readonly shown: Readonly<Record<string, string>>;
  /** Shell lines that mount the cgroups, and what else is needed, below the current folder. */
  readonly mounts: string;
}

export const MOUNT_CGROUP2 = 'mount -t cgroup2 cgroup2 sys/fs/cgroup';

export function nodeRoot(stateRoot: string, paths: NodePaths, tools: ToolFolders): NestedRoot {
  return {
    scratch: join(paths.root, 'systemd'),
    units: unitFolder(paths),
    shown: Object.fromEntries([stateRoot, ...Object.values(tools)].map((folder) => [folder, folder])),
    mounts: MOUNT_CGROUP2,
  };
}

/**
 * Shell text for the first process in new namespaces: mounts the root with `/run`, `/tmp`, kubelet folder and cgroup root of its own, then
 * becomes systemd.
 */
export function initScript({ scratch, units, shown, mounts }: NestedRoot): string {
  const base = quoted(scratch);
  const binds = Object.entries(shown).map(
    ([folder, name]) => `mkdir -p .${quoted(name)}\nmount --bind ${quoted(folder)} .${quoted(name)}`,
  );
  return `set -e
mount --make-rprivate /
mkdir -p ${base}
mount -t tmpfs -o mode=755 tmpfs ${base}
cd ${base}
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=${base}/upper,workdir=${base}/work root
cd root
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
${mounts}
${binds.join('\n')}
mkdir -p var/lib/kubelet
mount -t tmpfs -o mode=750 tmpfs var/lib/kubelet
mkdir -p etc/systemd/system
rm -rf etc/systemd/system/*
cp ${quoted(units)}/* etc/systemd/system/
mkdir put-old
pivot_root . put-old
umount -l /put-old
rmdir /put-old
mount --make-rshared /
exec env container=device-mounter /lib/systemd/systemd --unit=${TARGET} --log-target=console --log-level=notice
`;
}
