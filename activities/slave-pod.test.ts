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
  ['nvidia.com/mig-1g.10gb', 'nvidia'],
  ['nvidia.com/gpu', undefined],
])('slavePod() for %s has runtime class %s of its target', (resource, runtimeClassName) => {
  const request = { ...mountRequest('web'), deviceType: 'NVIDIA_GPU', resources: { [resource]: '1' } } as const;
  const target = { spec: { containers: [], runtimeClassName: 'nvidia' } };
  const { spec } = slavePod({ request, signature: '' }, target, OPTIONS);
  expect(spec?.runtimeClassName).toBe(runtimeClassName);
});
