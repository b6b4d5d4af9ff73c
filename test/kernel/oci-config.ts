import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../../deploy/local/state.ts';

export interface BundleOptions {
  readonly privileged?: boolean;
  /** More than the runtime's defaults: `linux.resources.devices` and `linux.devices`. */
  readonly devices?: readonly OciDevice[];
  /** After those of `devices`, as a pod's or an administrator's own: also refusals and wildcards. */
  readonly rules?: readonly OciRule[];
  readonly cgroupsPath: string;
  /** More of `linux.resources`. */
  readonly limits?: object;
  readonly mounts?: readonly OciMount[];
  /** Host id of the container's uid 0; makes a user namespace. */
  readonly userNamespaceBase?: number;
  /** Shares the pid namespace of this process, as containers of a pod with `shareProcessNamespace` do. */
  readonly pidNamespaceOf?: number;
  readonly args?: readonly string[];
  readonly readOnlyRoot?: boolean;
  /** A program that runs on the host before the container enters its root, with its words. */
  readonly prestart?: readonly string[];
  /** False: /dev is a directory of the image, as no CRI runtime makes it, so that the container can put anything in its place. */
  readonly devMount?: boolean;
  /** More than a container usually has, for attacks: `CAP_SYS_CHROOT`. */
  readonly capabilities?: readonly string[];
}

interface OciDevice {
  readonly path: string;
  readonly type: 'c' | 'b';
  readonly major: number;
  readonly minor: number;
  readonly access: string;
}

interface OciRule {
  readonly allow: boolean;
  readonly type?: 'a' | 'b' | 'c';
  readonly major?: number;
  readonly minor?: number;
  readonly access: string;
}

interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

const CAPABILITIES = [
  'CAP_MKNOD',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_KILL',
  'CAP_SETUID',
  'CAP_SETGID',
];

const MOUNTS: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: [] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666'],
  },
];

/** `config.json` of a container as a CRI runtime would start it: no device but the defaults, own namespaces. */
export function ociConfig(options: BundleOptions): object {
  const { privileged = false, devices = [], mounts = [], userNamespaceBase: base, args = ['/bin/sh'] } = options;
  const { devMount = true, capabilities = [], rules = [], readOnlyRoot = false, pidNamespaceOf } = options;
  const { prestart } = options;
  const shared = pidNamespaceOf === undefined ? {} : { path: `/proc/${pidNamespaceOf}/ns/pid` };
  const usual = devMount ? MOUNTS : MOUNTS.filter(({ destination }) => !destination.startsWith('/dev'));
  const isUsual = ({ destination }: OciMount): boolean => usual.some((mount) => mount.destination === destination);
  const replaced = (mount: OciMount): OciMount =>
    mounts.find(({ destination }) => destination === mount.destination) ?? mount;
  const mapping = base === undefined ? [] : [{ containerID: 0, hostID: base, size: 65_536 }];
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/bin'],
      cwd: '/',
      capabilities: Object.fromEntries(
        ['bounding', 'effective', 'permitted'].map((set) => [set, [...CAPABILITIES, ...capabilities]]),
      ),
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: readOnlyRoot },
    hostname: 'test',
    ...(prestart && {
      hooks: { prestart: [{ path: prestart[0], args: prestart, env: [`PATH=${process.env['PATH']}`] }] },
    }),
    mounts: [...usual.map(replaced), ...mounts.filter((mount) => !isUsual(mount))],
    linux: {
      cgroupsPath: options.cgroupsPath,
      resources: { ...options.limits, devices: [...deviceRules(privileged, devices), ...rules] },
      devices: devices.map(({ path, type, major, minor }) => ({
        path,
        type,
        major,
        minor,
        fileMode: 0o660,
        uid: 0,
        gid: 0,
      })),
      namespaces: [
        { type: 'pid', ...shared },
        ...['mount', 'ipc', 'uts', ...(base === undefined ? [] : ['user'])].map((type) => ({ type })),
      ],
      ...(base !== undefined && { uidMappings: mapping, gidMappings: mapping }),
    },
  };
}

const deviceRules = (privileged: boolean, devices: readonly OciDevice[]): readonly object[] =>
  privileged
    ? [{ allow: true, access: 'rwm' }]
    : [
        { allow: false, access: 'rwm' },
        ...devices.map(({ type, major, minor, access }) => ({ allow: true, type, major, minor, access })),
      ];

/** The pinned runc that `npm start` and `npm test` build. Throws when it is not there. */
export function runcBinary(): string {
  const tools = process.env['DEVICE_MOUNTER_TOOLS'] ?? join(cacheFolder(process.env), 'tools');
  const folder = existsSync(tools)
    ? readdirSync(tools).find((name) => /^runc-\d[^/]*(?<!\.building)$/.test(name))
    : undefined;
  if (folder === undefined) throw new Error(`Cannot find runc in "${tools}": "npm start -- --once" builds it`);
  return join(tools, folder, 'runc');
}
