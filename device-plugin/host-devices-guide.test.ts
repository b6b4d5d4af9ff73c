import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { readOptions } from '../process/options.ts';
import { OPTIONS } from './config.ts';
import { parseConfigFile } from './config-file.ts';
import { PluginMetrics } from './metrics.ts';

const GUIDE = readFileSync(join(import.meta.dirname, '../docs/guides/host-devices.md'), 'utf8');
const YAML = [...GUIDE.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text]) => text ?? '');
const [lines = '', config = ''] = YAML;

/** First words of a table's rows, without those of its head. */
const rowsOf = (pattern: RegExp): readonly string[] => [...GUIDE.matchAll(pattern)].map(([, name]) => name ?? '');

describe('docs/guides/host-devices.md', () => {
  test('its configuration offers what its comments say', () => {
    const { devs, problems } = parseConfigFile(config);
    expect(problems).toEqual([]);
    const resources = devs.map(({ resource }) => resource);
    const said = [...config.matchAll(/# (hostdev\.k8s\.io\/\w+):/g)].map(([, resource]) => resource);
    expect(said.length).toBeGreaterThan(3);
    expect(resources).toEqual(expect.arrayContaining(said));
  });

  test('its table has every field of the example, and no other', () => {
    const { devices } = load(config) as { devices: readonly object[] };
    const fields = new Set(devices.flatMap((device) => Object.keys(device)));
    fields.delete('group');
    expect(new Set(rowsOf(/^\| `([a-zA-Z]+)` +\|/gm))).toEqual(fields);
  });

  test('the plugin takes the arguments for the DaemonSet', () => {
    const { args, volumeMounts } = load(lines.slice(0, lines.indexOf('      volumes:'))) as {
      args: readonly string[];
      volumeMounts: readonly { mountPath: string }[];
    };
    const read = readOptions(OPTIONS, args.slice(1), {});
    expect(read).toMatchObject({
      kind: 'settings',
      settings: { config: `${volumeMounts[0]?.mountPath}/devices.yaml` },
    });
  });

  test('it names the metrics that there are', async () => {
    const names = [...(await new PluginMetrics().text()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(rowsOf(/^\| `(device_mounter_\w+)`/gm)).toEqual(names);
  });
});
