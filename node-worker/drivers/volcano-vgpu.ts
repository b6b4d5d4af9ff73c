import { fail } from '../../contract/failures.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { AllocatedDevice, DeviceDriver, Finding, Host } from './driver.ts';
import { checkNames, isGpu, namesIn, nvidiaGpu } from './nvidia-gpu.ts';
import { namedNodes } from './sources.ts';
import { LIBVGPU, REGION, vgpuFilesOf } from './vgpu-files.ts';
import { VGPU_WORDS, vgpuIdsOf } from './vgpu-ids.ts';
import { vgpuLimitsOf, vgpuRegionOf } from './vgpu-limits.ts';

/**
 * Shares of GPUs by Volcano's scheduler. The kubelet's pick means nothing: the scheduler chooses the GPU, and the device plugin gives that
 * one. Whoever may change pods can change the scheduler's word, so the plugin's answer must say the same.
 */
export const volcanoVgpu: DeviceDriver = {
  reads: VGPU_WORDS,
  knowsNodes: (allocations, host) => nvidiaGpu.knowsNodes(allocations.map(byAnswer), host),
  devicesOf,
  expected: nvidiaGpu.expected,
  filesOf: vgpuFilesOf,
  limits: { path: REGION, of: vgpuLimitsOf, regionOf: vgpuRegionOf },
  needs: {
    anyOf: [LIBVGPU],
    otherwise: `it has no ${LIBVGPU}, so nothing limits what its programs use of the GPU`,
  },
};

/** As if the kubelet had chosen what the device plugin has given. */
const byAnswer = (allocation: Allocation): Allocation => ({
  ...allocation,
  deviceIds: Object.values(namesIn(allocation)).flatMap((names) => [...names]),
});

function devicesOf(finding: Finding, host: Host): readonly AllocatedDevice[] {
  const { key, uuids } = vgpuIdsOf(finding);
  const kubeletIds = finding.allocations.flatMap(({ deviceIds }) => deviceIds);
  const allocations = finding.allocations.map((allocation) => ({ ...allocation, deviceIds: uuids }));
  for (const allocation of allocations) {
    requireAnswer(allocation, host);
    checkNames(allocation, `"${key}"`);
  }
  if (new Set(uuids).size !== kubeletIds.length || uuids.length !== kubeletIds.length) {
    const why = `${kubeletIds.length} must be on GPUs of their own, "${key}" names ${uuids.join(', ') || 'none'}`;
    throw fail('NotAllocated', `Cannot attach what "${finding.slave.name}" has: ${why}`);
  }
  const devices = nvidiaGpu.devicesOf({ ...finding, allocations }, host);
  // Which of the kubelet's ids stands for which GPU nobody can tell, and it makes no difference: they go together.
  return devices.map((device, index) => ({ ...device, kubeletId: kubeletIds[index] ?? device.id }));
}

/** @throws NotAllocated where only the pod says which GPU it has */
function requireAnswer(allocation: Allocation, host: Host): void {
  const isTold = Object.values(namesIn(allocation)).some((names) => names.size > 0);
  if (isTold || namedNodes(allocation, host).nodes.some(isGpu)) return;
  throw fail(
    'NotAllocated',
    `Cannot attach ${allocation.resource}: its device plugin must say which GPU it has given, says nothing`,
  );
}
