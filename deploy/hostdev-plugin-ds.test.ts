import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import * as kubernetes from '@kubernetes/client-node';
import { loadAll } from 'js-yaml';
import { OPTIONS } from '../device-plugin/config.ts';
import { readOptions } from '../process/options.ts';
import { faultsOf } from '../test/unit/kubernetes-fields.ts';
import { DAEMON_SET_NAMESPACES } from './local/placement.ts';

const TEXT = readFileSync(join(import.meta.dirname, 'hostdev-plugin-ds.yaml'), 'utf8');
const OBJECTS = kubernetes.loadAllYaml(TEXT) as kubernetes.KubernetesObject[];
const { metadata, spec } = OBJECTS.find(({ kind }) => kind === 'DaemonSet') as kubernetes.V1DaemonSet;
const POD = spec?.template.spec;
const [container] = POD?.containers ?? [];

test('Kubernetes knows every field of the manifest', () => {
  // As it is written: `loadYaml` drops what it does not know.
  for (const object of loadAll(TEXT) as { kind: string }[])
    expect(faultsOf(object, `V1${object.kind}`, object.kind)).toEqual([]);
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

test('it installs alone, in kube-system and with folders of every host, and may make Events about nodes', () => {
  const [account, role, binding] = OBJECTS as [object, kubernetes.V1Role, kubernetes.V1RoleBinding];
  const name = 'hostdev-device-plugin';
  expect(account).toMatchObject({ kind: 'ServiceAccount', metadata: { name, namespace: 'kube-system' } });
  expect(role.rules).toEqual([{ apiGroups: [''], resources: ['events'], verbs: ['create'] }]);
  expect([role, binding].map((object) => object.metadata)).toEqual([
    { name, namespace: 'default' },
    { name, namespace: 'default' },
  ]);
  expect(binding.subjects).toEqual([{ kind: 'ServiceAccount', name, namespace: 'kube-system' }]);
  expect(OBJECTS.map(({ kind }) => kind)).toEqual(['ServiceAccount', 'Role', 'RoleBinding', 'DaemonSet']);
  expect(metadata).toEqual({ name: 'hostdev-device-plugin', namespace: 'kube-system' });
  expect(DAEMON_SET_NAMESPACES['hostdev-device-plugin']).toBe(metadata?.namespace);
  expect(POD?.serviceAccountName).toBe(name);
  expect(container?.env?.map((variable) => variable.name)).toEqual(['NODE_NAME']);
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
