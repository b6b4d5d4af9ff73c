import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { loadYaml } from '@kubernetes/client-node';
import { OPTIONS } from '../device-plugin/config.ts';
import { readOptions } from '../process/options.ts';

interface DaemonSet {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly nodeSelector: object;
        readonly containers: readonly { readonly args: readonly string[]; readonly securityContext: object }[];
      };
    };
  };
}

const TEXT = readFileSync(join(import.meta.dirname, 'hostdev-plugin-ds.yaml'), 'utf8');
const POD = loadYaml<DaemonSet>(TEXT).spec.template.spec;
const [container] = POD.containers;

test('the plugin takes the command line of its manifest', () => {
  const [script, ...args] = container?.args ?? [];
  expect(script).toBe('device-plugin/main.ts');
  expect(readOptions(OPTIONS, args, {})).toMatchObject({ kind: 'settings' });
});

test('the plugin runs on Linux only, and may no more than it needs', () => {
  expect(POD.nodeSelector).toEqual({ 'kubernetes.io/os': 'linux' });
  expect(container?.securityContext).toMatchObject({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
    seLinuxOptions: { type: 'spc_t' },
  });
});
