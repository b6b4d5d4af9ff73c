import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { kubernetesEvents } from '../process/events.ts';
import { serveHealth } from '../process/health.ts';
import { kubeApi, podAccess } from '../process/kube-api.ts';
import { settingsOrExit } from '../process/options.ts';
import { Allocations } from './allocations.ts';
import { configOf, OPTIONS, SUMMARY } from './config.ts';
import { ConfigEvents } from './config-events.ts';
import { ConfigSource } from './config-source.ts';
import { HostDevPlugin } from './host-dev-plugin.ts';
import { PluginMetrics } from './metrics.ts';

const config = configOf(settingsOrExit(SUMMARY, OPTIONS));
if (config.devs.length === 0 && config.file === undefined) {
  process.stderr.write('Cannot start without --devs or --config: no device is named\n');
  process.exit(2);
}
const log = pino({ name: 'device-plugin' });
const metrics = new PluginMetrics();
const source = new ConfigSource(config.devs, config.file, log, metrics);
const events =
  config.node === undefined
    ? undefined
    : new ConfigEvents(kubernetesEvents(kubeApi(podAccess(process.env)), config.node), config.node, log);
const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
const plugin = new HostDevPlugin({
  devs: () => {
    const devs = source.look();
    events?.show(source.fault);
    return devs;
  },
  pluginDir: config.pluginDir,
  host: {
    devRoot: config.devRoot ?? (existsSync('/host/dev') ? '/host/dev' : '/dev'),
    sysRoot: config.sysRoot,
  },
  // A kubelet that starts empties its folder of files, but leaves folders (devicemanager.CleanupPluginDirectory).
  allocations: new Allocations(join(config.pluginDir, 'hostdev', 'allocations.json'), boot, log),
  metrics,
  pollMs: 1_000,
  pauseMs: 2_000,
  log,
});
const health = await serveHealth({
  port: config.healthPort,
  metrics: () => metrics.text(),
  ready: {
    config: () => source.problem,
    kubelet: () => (plugin.registered ? undefined : 'the kubelet does not follow every resource'),
  },
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    log.info({ signal }, 'stopping');
    health.close();
    void plugin.close().then(() => process.exit(0));
  });
}
