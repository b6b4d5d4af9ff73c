import { existsSync } from 'node:fs';
import { pino } from 'pino';
import { serveHealth } from '../process/health.ts';
import { settingsOrExit } from '../process/options.ts';
import { configOf, OPTIONS, SUMMARY } from './config.ts';
import { ConfigSource } from './config-source.ts';
import { HostDevPlugin } from './host-dev-plugin.ts';

const config = configOf(settingsOrExit(SUMMARY, OPTIONS));
if (config.devs.length === 0 && config.file === undefined) {
  process.stderr.write('Cannot start without --devs or --config: no device is named\n');
  process.exit(2);
}
const log = pino({ name: 'device-plugin' });
const source = new ConfigSource(config.devs, config.file, log);
const plugin = new HostDevPlugin({
  devs: () => source.look(),
  pluginDir: config.pluginDir,
  devRoot: config.devRoot ?? (existsSync('/host/dev') ? '/host/dev' : '/dev'),
  pollMs: 1_000,
  pauseMs: 2_000,
  log,
});
const health = await serveHealth({
  port: config.healthPort,
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
