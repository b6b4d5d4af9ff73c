import type { V1PodSpec } from '@kubernetes/client-node';
import { slavePod } from '../../activities/slave-pod.ts';
import { PAUSE_IMAGE } from '../../deploy/local/image/small.ts';
import { mountRequest, SLAVE_SETTINGS } from '../workflows/requests.ts';

/**
 * A slave of ours as far as the original device-mounter has the same: it can become Ready, which the original waits for, and nothing holds
 * it while it ends. No label of ours is on it, so that the product leaves it alone.
 */
export function originalSlave(node: string): V1PodSpec {
  const options = { mountUid: 'bench', index: 0, node, settings: { ...SLAVE_SETTINGS, image: PAUSE_IMAGE } };
  const { spec } = slavePod({ request: mountRequest('bench'), signature: '' }, {}, options);
  const { readinessGates: _gates, containers = [], ...rest } = spec ?? {};
  return { ...rest, containers: containers.map(({ lifecycle: _preStop, ...container }) => container) };
}
