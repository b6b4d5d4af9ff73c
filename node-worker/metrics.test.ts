import { describe, expect, test } from '@jest/globals';
import { fail } from '../contract/failures.ts';
import { NodeMetrics } from './metrics.ts';

describe('NodeMetrics', () => {
  test('counts steps by how they ended', async () => {
    const metrics = new NodeMetrics(() => []);
    expect(await metrics.timed('attach', async () => 1)).toBe(1);
    const failing = metrics.timed('detach', () => Promise.reject(fail('DeviceBusy', 'Cannot: busy')));
    await expect(failing).rejects.toMatchObject({ type: 'DeviceBusy' });
    const text = await metrics.text();
    expect(text).toContain('device_mounter_node_step_seconds_count{step="attach",result="ok"} 1');
    expect(text).toContain('device_mounter_node_step_seconds_count{step="detach",result="DeviceBusy"} 1');
    expect(text).toContain('device_mounter_node_mounts{phase="attached"} 0');
  });
});
