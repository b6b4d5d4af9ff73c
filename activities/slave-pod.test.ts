import { expect, test } from '@jest/globals';
import { mountRequest } from '../test/workflows/requests.ts';
import { slavePod } from './slave-pod.ts';

test('slavePod() is never Ready, so that labels of a Service make it no endpoint', () => {
  const request = { ...mountRequest('web'), labels: { app: 'web' } };
  const options = { mountUid: 'u', index: 0, node: 'n', image: 'i' };
  const { metadata, spec } = slavePod({ request, signature: '' }, {}, options);
  expect(metadata?.labels?.['app']).toBe('web');
  expect(spec?.readinessGates).toEqual([{ conditionType: 'device-mounter.io/never' }]);
});

test.each([
  ['nvidia.com/mig-1g.10gb', 'nvidia'],
  ['nvidia.com/gpu', undefined],
])('slavePod() for %s has runtime class %s of its target', (resource, runtimeClassName) => {
  const request = { ...mountRequest('web'), deviceType: 'NVIDIA_GPU', resources: { [resource]: '1' } } as const;
  const target = { spec: { containers: [], runtimeClassName: 'nvidia' } };
  const { spec } = slavePod({ request, signature: '' }, target, { mountUid: 'u', index: 0, node: 'n', image: 'i' });
  expect(spec?.runtimeClassName).toBe(runtimeClassName);
});
