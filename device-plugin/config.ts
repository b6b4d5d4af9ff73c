import { type Options, wholeNumber } from '../process/options.ts';
import { type HostDev, parseDevs } from './devs.ts';

export const SUMMARY = 'Offers device files of the host as extended resources hostdev.k8s.io/<path>.';

export const OPTIONS = {
  devs: {
    env: 'DEVS',
    required: true,
    help: 'Devices to offer: <path>:<permissions>[:<count>], separated by commas. The count says how many containers may share one.',
    value: 'list',
    check: (value) => {
      const { problems } = parseDevs(value);
      return problems.length === 0 ? undefined : `a list of devices; ${problems.join('; ')}`;
    },
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
  'health-port': {
    env: 'HEALTH_PORT',
    default: '8082',
    help: 'Port of /livez and /readyz. Ready means that the kubelet follows every resource.',
    value: 'port',
    check: wholeNumber(1, 65_535),
  },
} as const satisfies Options;

export interface Config {
  readonly devs: readonly HostDev[];
  readonly pluginDir: string;
  readonly devRoot: string | undefined;
  readonly healthPort: number;
}

/** The typed form of settings that were read with OPTIONS. */
export function configOf(settings: {
  readonly devs: string;
  readonly 'plugin-dir': string;
  readonly 'dev-root': string | undefined;
  readonly 'health-port': string;
}): Config {
  return {
    devs: parseDevs(settings.devs).devs,
    pluginDir: settings['plugin-dir'],
    devRoot: settings['dev-root'],
    healthPort: Number(settings['health-port']),
  };
}
