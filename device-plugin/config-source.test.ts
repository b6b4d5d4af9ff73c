import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { ConfigMapVolume } from '../test/device-plugin/config-map.ts';
import { ConfigSource } from './config-source.ts';
import { parseDevs } from './devs.ts';
import { PluginMetrics } from './metrics.ts';

const NULL = 'hostdev.k8s.io/dev_null';
const FUSE = 'hostdev.k8s.io/dev_fuse';
let volume: ConfigMapVolume;
let metrics: PluginMetrics;
let lines: string[];
let source: ConfigSource;

beforeEach(() => {
  volume = new ConfigMapVolume();
  metrics = new PluginMetrics();
  lines = [];
  const log = pino({}, { write: (line: string) => lines.push(line) });
  source = new ConfigSource(parseDevs('/dev/null:r').devs, volume.file, log, metrics);
});
afterEach(() => volume.remove());

const offered = (): readonly string[] => source.look().map(({ resource }) => resource);

describe('ConfigSource', () => {
  test('keeps the last good configuration and says what is wrong with the new one', async () => {
    volume.write('devices: [{ path: /dev/fuse }]');
    expect(offered()).toEqual([NULL, FUSE]);
    for (const bad of ['devices: [{ path: /etc/x }]', 'devices: [{ path: /dev/null }]', '{']) {
      volume.write(bad);
      lines.length = 0;
      expect([offered(), offered()]).toEqual([offered(), [NULL, FUSE]]);
      expect(lines).toHaveLength(1);
      expect(JSON.parse(lines[0] ?? '{}')).toMatchObject({ msg: source.fault });
      expect(source.fault).toContain('the last good one stays in force');
    }
    rmSync(volume.file);
    expect(offered()).toEqual([NULL, FUSE]);
    expect(source.problem).toBeUndefined();
    expect(await metrics.text()).toContain('device_mounter_hostdev_config_in_force 0');
    volume.write('devices: [{ path: /dev/kvm }]');
    expect(offered()).toEqual([NULL, 'hostdev.k8s.io/dev_kvm']);
    expect(source.fault).toBeUndefined();
    const text = await metrics.text();
    for (const line of ['reads_total{result="accepted"} 2', 'reads_total{result="refused"} 3', 'in_force 1'])
      expect(text).toContain(`device_mounter_hostdev_config_${line}`);
    expect(text).toContain('device_mounter_hostdev_config_reads_total{result="unreadable"} 1');
  });

  test('a file that was never good offers nothing and is told by readiness', () => {
    expect(offered()).toEqual([NULL]);
    expect(source.problem).toContain('ENOENT');
  });
});
