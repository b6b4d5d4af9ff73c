import { expect, test } from '@jest/globals';
import { mountRequest } from '../test/workflows/requests.ts';
import { slavePod } from './slave-pod.ts';

const OPTIONS = { mountUid: 'u', index: 0, node: 'n', image: 'i', graceSeconds: 40 } as const;

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
