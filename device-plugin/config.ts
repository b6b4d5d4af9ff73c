import { type Options, wholeNumber } from '../process/options.ts';
import { type HostDev, parseDevs } from './devs.ts';

export const SUMMARY = 'Offers device files of the host as extended resources hostdev.k8s.io/<path>.';

export const OPTIONS = {
  devs: {
    env: 'DEVS',
    default: '',
    help: 'Devices to offer, besides those of --config: <path>:<permissions>[:<count>], separated by commas. The count says how many containers may share one.',
    value: 'list',
    check: (value) => {
      if (value === '') return undefined;
      const { problems } = parseDevs(value);
      return problems.length === 0 ? undefined : `a list of devices; ${problems.join('; ')}`;
    },
  },
  config: {
    env: 'CONFIG',
    help: 'File with devices to offer, see docs/guides/host-devices.md. It is read again when it changes.',
    value: 'file',
  },
  'plugin-dir': {
    default: '/var/lib/kubelet/device-plugins',
    help: 'Device plugin directory of the kubelet.',
    value: 'directory',
  },
  'dev-root': {
    help: 'Where the /dev of the host is seen; without it /host/dev if that exists, else /dev.',
    value: 'directory',
  },
  'sys-root': {
    default: '/sys',
    help: 'Where the sysfs of the host is seen: USB devices and NUMA nodes are looked up there.',
    value: 'directory',
  },
  'node-name': {
    env: 'NODE_NAME',
    help: 'Node on which an Event tells of a configuration that cannot be used. Without it only the log does.',
    value: 'name',
  },
  'health-port': {
    env: 'HEALTH_PORT',
    default: '8082',
    help: 'Port of /livez, /readyz and /metrics. Ready means that the kubelet follows every resource.',
    value: 'port',
    check: wholeNumber(1, 65_535),
  },
} as const satisfies Options;

export interface Config {
  readonly devs: readonly HostDev[];
  /** Configuration file. */
  readonly file: string | undefined;
  readonly pluginDir: string;
  readonly devRoot: string | undefined;
  readonly sysRoot: string;
  readonly node: string | undefined;
  readonly healthPort: number;
}

/** The typed form of settings that were read with OPTIONS. */
export function configOf(settings: {
  readonly devs: string;
  readonly config: string | undefined;
  readonly 'plugin-dir': string;
  readonly 'dev-root': string | undefined;
  readonly 'sys-root': string;
  readonly 'node-name': string | undefined;
  readonly 'health-port': string;
}): Config {
  return {
    devs: parseDevs(settings.devs).devs,
    file: settings.config,
    pluginDir: settings['plugin-dir'],
    devRoot: settings['dev-root'],
    sysRoot: settings['sys-root'],
    node: settings['node-name'],
    healthPort: Number(settings['health-port']),
  };
}
