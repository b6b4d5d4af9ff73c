import { fail } from '../../contract/failures.ts';
import type { Finding } from './driver.ts';
import { wordOf } from './words.ts';

/** Of Volcano's scheduler (volcano-vgpu-device-plugin, pkg/util/types.go) and of HAMi's. */
export const VGPU_WORDS = ['volcano.sh/vgpu-ids-new', 'hami.io/vgpu-devices-allocated'];

/** GPU, kind, MiB of memory and percent of its cores; a fork of the plugin says first which container it is for. */
const DEVICE = String.raw`(?:\d{1,3},)?(GPU-[0-9a-f-]{1,64}),[\w .()/-]{1,64},\d{1,9},\d{1,9}`;
const FORM = {
  // A colon ends a device, a semicolon a container.
  pattern: new RegExp(`^(?:(?:${DEVICE})?[:;])*(?:${DEVICE})?$`),
  what: 'GPUs such as "GPU-1,NVIDIA,2000,50:"',
};

/** Whose word it is, and the GPUs that it names, in its order. */
export interface VgpuIds {
  readonly key: string;
  readonly uuids: readonly string[];
}

/** On which GPUs the scheduler has put a slave. @throws NotAllocated where it has written nothing, or what nobody can read */
export function vgpuIdsOf(finding: Finding): VgpuIds {
  for (const key of VGPU_WORDS) {
    const word = wordOf(finding, key, FORM)?.[0];
    if (word === undefined) continue;
    return { key, uuids: [...word.matchAll(new RegExp(DEVICE, 'g'))].map(([, uuid = '']) => uuid) };
  }
  const why = `it has neither "${VGPU_WORDS.join('" nor "')}". Is Volcano its scheduler?`;
  throw fail('NotAllocated', `Cannot attach what "${finding.slave.name}" has: ${why}`);
}
