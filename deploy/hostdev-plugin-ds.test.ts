import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import * as kubernetes from '@kubernetes/client-node';
import { load } from 'js-yaml';
import { OPTIONS } from '../device-plugin/config.ts';
import { readOptions } from '../process/options.ts';
import { faultsOf } from '../test/unit/kubernetes-fields.ts';
import { DAEMON_SET_NAMESPACES } from './local/placement.ts';

const TEXT = readFileSync(join(import.meta.dirname, 'hostdev-plugin-ds.yaml'), 'utf8');
const DAEMON_SET = kubernetes.loadYaml<kubernetes.V1DaemonSet>(TEXT);
const { metadata, spec } = DAEMON_SET;
const POD = spec?.template.spec;
const [container] = POD?.containers ?? [];

test('Kubernetes knows every field of the manifest', () => {
  // As it is written: `loadYaml` drops what it does not know.
  expect(faultsOf(load(TEXT), 'V1DaemonSet', 'daemonSet')).toEqual([]);
  const typo = { spec: { template: { spec: { containers: [{ image: 1, imagePullpolicy: 'Always' }] } } } };
  const at = 'daemonSet.spec.template.spec.containers[0]';
  expect(faultsOf(typo, 'V1DaemonSet', 'daemonSet')).toEqual([
    `${at}.image: no string`,
    `${at}.imagePullpolicy: unknown`,
  ]);
});

test('the plugin takes the command line of its manifest', () => {
  const [script, ...args] = container?.args ?? [];
  expect(script).toBe('device-plugin/main.ts');
  expect(readOptions(OPTIONS, args, {})).toMatchObject({ kind: 'settings' });
});

test('it installs alone: one object in kube-system, with folders of every host and no account', () => {
  expect(kubernetes.loadAllYaml(TEXT)).toHaveLength(1);
  expect(metadata).toEqual({ name: 'hostdev-device-plugin', namespace: 'kube-system' });
  expect(DAEMON_SET_NAMESPACES['hostdev-device-plugin']).toBe(metadata?.namespace);
  expect(POD?.automountServiceAccountToken).toBe(false);
  expect(POD?.serviceAccountName).toBeUndefined();
  expect(spec?.template.metadata?.labels).toMatchObject(spec?.selector.matchLabels ?? { none: '' });
  expect(container?.volumeMounts?.map(({ name }) => name)).toEqual(POD?.volumes?.map(({ name }) => name));
  expect(POD?.volumes?.map(({ hostPath }) => hostPath?.path)).toEqual(['/var/lib/kubelet/device-plugins', '/dev']);
});

test('the plugin runs on Linux only, and may no more than it needs', () => {
  expect(POD?.nodeSelector).toEqual({ 'kubernetes.io/os': 'linux' });
  expect(container?.securityContext).toMatchObject({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
    seLinuxOptions: { type: 'spc_t' },
  });
});
