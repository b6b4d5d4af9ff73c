import { expect, test } from '@jest/globals';
import { mountRequest, SLAVE_SETTINGS } from '../test/workflows/requests.ts';
import { slavePod } from './slave-pod.ts';

const SETTINGS = { ...SLAVE_SETTINGS, graceSeconds: 40 };
const OPTIONS = { mountUid: 'u', index: 0, node: 'n', settings: SETTINGS } as const;

test('slavePod() is never Ready, so that labels of a Service make it no endpoint', () => {
  const request = { ...mountRequest('web'), labels: { app: 'web' } };
  const { metadata, spec } = slavePod({ request, signature: '' }, {}, OPTIONS);
  expect(metadata?.labels?.['app']).toBe('web');
  expect(spec?.readinessGates).toEqual([{ conditionType: 'device-mounter.io/never' }]);
});

test('slavePod() holds its devices for the grace, but for what its container needs to stop', () => {
  const { spec } = slavePod({ request: mountRequest('web'), signature: '' }, {}, OPTIONS);
  expect(spec?.terminationGracePeriodSeconds).toBe(40);
  expect(spec?.containers[0]?.lifecycle?.preStop?.sleep?.seconds).toBe(35);
  expect(spec?.containers[0]?.command).toBeUndefined();
});

test('slavePod() ignores SIGTERM where a server has no preStop.sleep', () => {
  const settings = { ...SETTINGS, holdsBy: 'ignoringSigterm' } as const;
  const { spec } = slavePod({ request: mountRequest('web'), signature: '' }, {}, { ...OPTIONS, settings });
  expect(spec?.terminationGracePeriodSeconds).toBe(40);
  expect(spec?.containers[0]?.lifecycle).toBeUndefined();
  expect(spec?.containers[0]?.command?.at(-1)).toContain("trap '' TERM");
});

test('slavePod() has the requests, limits and pull secrets of the installation beside the devices', () => {
  const settings = { ...SETTINGS, requests: { cpu: '1m' }, limits: { memory: '8Mi' }, pullSecrets: ['one', 'two'] };
  const signed = { request: mountRequest('web'), signature: '' };
  const devices = { 'hostdev.k8s.io/dev_fuse': '1' };
  const { spec } = slavePod(signed, {}, { ...OPTIONS, settings });
  expect(spec?.imagePullSecrets).toEqual([{ name: 'one' }, { name: 'two' }]);
  expect(spec?.containers[0]?.resources).toEqual({
    requests: { cpu: '1m', ...devices },
    limits: { memory: '8Mi', ...devices },
  });
  expect(slavePod(signed, {}, OPTIONS).spec?.imagePullSecrets).toBeUndefined();
});

test.each([
  ['NVIDIA_GPU', 'nvidia.com/mig-1g.10gb', 'vendor'],
  ['NVIDIA_GPU', 'nvidia.com/gpu', undefined],
  ['ASCEND_NPU', 'huawei.com/Ascend910', 'vendor'],
] as const)('slavePod() for %s and %s has runtime class %s of its target', (deviceType, resource, runtimeClassName) => {
  const request = { ...mountRequest('web'), deviceType, resources: { [resource]: '1' } } as const;
  const target = { spec: { containers: [], runtimeClassName: 'vendor' } };
  const { spec } = slavePod({ request, signature: '' }, target, OPTIONS);
  expect(spec?.runtimeClassName).toBe(runtimeClassName);
});

test('slavePod() holds the claims of the request beside its resources, and none without', () => {
  const claims = [
    { name: 'own', resourceClaimName: 'gpu-of-web' },
    { name: 'new', resourceClaimTemplateName: 'one-gpu' },
  ];
  const request = { ...mountRequest('web'), deviceType: 'GENERIC', resources: { 'x.io/gpu': '1' }, claims } as const;
  const { spec } = slavePod({ request, signature: '' }, {}, OPTIONS);
  expect(spec?.resourceClaims).toEqual(claims);
  const { limits, claims: used } = spec?.containers[0]?.resources ?? {};
  expect([limits?.['x.io/gpu'], used]).toEqual(['1', [{ name: 'own' }, { name: 'new' }]]);
  const without = slavePod({ request: mountRequest('web'), signature: '' }, {}, OPTIONS);
  expect([without.spec, without.spec?.containers[0]?.resources]).toEqual([
    expect.not.objectContaining({ resourceClaims: expect.anything() }),
    expect.not.objectContaining({ claims: expect.anything() }),
  ]);
});

test('slavePod() keeps claims from patches', () => {
  const claims = [{ name: 'own', resourceClaimName: 'gpu-of-web' }];
  const patches = [
    { op: 'replace', path: '/spec/resourceClaims/0/resourceClaimName', value: 'of-others' },
    { op: 'add', path: '/spec/resourceClaims/-', value: { name: 'more', resourceClaimName: 'of-others' } },
  ] as const;
  const request = { ...mountRequest('web'), deviceType: 'GENERIC', claims, patches } as const;
  expect(slavePod({ request, signature: '' }, {}, OPTIONS).spec?.resourceClaims).toEqual(claims);
});

test.each([
  ['that of its type', [], 'volcano'],
  ['the one of a patch', [{ op: 'replace', path: '/spec/schedulerName', value: 'mine' }], 'mine'],
] as const)('slavePod() of a vGPU has %s for scheduler, not that of its target', (_name, patches, schedulerName) => {
  const resources = { 'volcano.sh/vgpu-number': '1', 'volcano.sh/vgpu-memory': '2000' };
  const request = { ...mountRequest('web'), deviceType: 'VOLCANO_VGPU', resources, patches } as const;
  const target = { spec: { containers: [], schedulerName: 'of-web' } };
  const { metadata, spec } = slavePod({ request, signature: '' }, target, OPTIONS);
  expect(spec?.schedulerName).toBe(schedulerName);
  expect(spec?.containers[0]?.resources?.limits).toMatchObject(resources);
  expect(metadata?.ownerReferences?.[0]?.controller).toBe(schedulerName !== 'volcano');
});
