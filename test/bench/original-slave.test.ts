import { expect, test } from '@jest/globals';
import { pinnedNodeOf } from '../../activities/slave-pod.ts';
import { FUSE } from '../workflows/requests.ts';
import { originalSlave } from './original-slave.ts';

test('originalSlave() asks for the device on the node, and can become Ready', () => {
  const spec = originalSlave('node-2');
  expect(pinnedNodeOf({ spec })).toBe('node-2');
  expect(spec.readinessGates).toBeUndefined();
  expect(spec.containers).toHaveLength(1);
  expect(spec.containers[0]?.resources?.limits).toMatchObject({ [FUSE]: '1' });
  expect(spec.containers[0]?.lifecycle).toBeUndefined();
});
