import { expect, test } from '@jest/globals';
import { holdsBy } from './slave-settings.ts';

test('holdsBy() ignores SIGTERM where Kubernetes has no preStop.sleep', () => {
  expect([28, 29, 30, 36].map(holdsBy)).toEqual(['ignoringSigterm', 'ignoringSigterm', 'preStop', 'preStop']);
});
