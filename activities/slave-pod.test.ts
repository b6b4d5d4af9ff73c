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
