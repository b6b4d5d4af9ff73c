import { describe, expect, test } from '@jest/globals';
import { controlPlaneSpecs, flagsOf } from './control-plane.ts';
import { statePaths } from './state.ts';
import { temporalSpec } from './temporal.ts';
import { TOOLS, type ToolFolders } from './tools.ts';

const PATHS = statePaths({ DEVICE_MOUNTER_STATE: '/state' });
const FOLDERS = Object.fromEntries(TOOLS.map(({ name }) => [name, `/tools/${name}`])) as ToolFolders;

test('flagsOf() writes one argument per option', () => {
  expect(flagsOf({ a: 'b', c: 1, d: true })).toEqual(['--a=b', '--c=1', '--d=true']);
});

describe('controlPlaneSpecs()', () => {
  const specs = controlPlaneSpecs(PATHS, FOLDERS);

  test('names every server after its binary', () => {
    expect(Object.values(specs).map(({ name, command }) => [name, command])).toEqual([
      ['etcd', '/tools/etcd/etcd'],
      ['kube-apiserver', '/tools/kubernetes/kube-apiserver'],
      ['kube-controller-manager', '/tools/kubernetes/kube-controller-manager'],
      ['kube-scheduler', '/tools/kubernetes/kube-scheduler'],
      ['kube-proxy', '/tools/kubernetes/kube-proxy'],
    ]);
  });

  test('lets nothing listen on all addresses of the machine', () => {
    expect(JSON.stringify(specs)).not.toContain('0.0.0.0');
    expect(specs['kube-apiserver'].args).toContain('--bind-address=10.97.0.1');
    for (const name of ['kube-controller-manager', 'kube-scheduler'] as const)
      expect(specs[name].args).toContain('--secure-port=0');
  });

  test('has kube-apiserver speak for users by a certificate of another authority than theirs', () => {
    const { args } = specs['kube-apiserver'];
    expect(args).toContain('--client-ca-file=/state/pki/ca.crt');
    expect(args).toContain('--requestheader-client-ca-file=/state/pki/front-proxy-ca.crt');
    expect(args).toContain('--requestheader-allowed-names=front-proxy-client');
  });
});

test('temporalSpec() registers what mounts are searched by', () => {
  const { args } = temporalSpec(PATHS, FOLDERS);
  expect(args.filter((argument) => argument.startsWith('--search-attribute='))).toEqual(
    ['Cluster', 'Phase', 'Node', 'Namespace', 'Pod', 'DeviceType', 'User'].map(
      (name) => `--search-attribute=Mount${name}=Keyword`,
    ),
  );
});
