import { expect } from '@jest/globals';
import { type DeviceState, deviceState } from './device-state.ts';
import { inPod } from './exec.ts';
import { deviceMount, slavesGone } from './pods.ts';
import { until } from './until.ts';

export interface Begun {
  readonly pod: string;
  /** Of the mount. */
  readonly name: string;
  readonly device: '/dev/fuse' | '/dev/kmsg';
  /** Of the container, without the device. */
  readonly before: DeviceState;
}

/** Waits until a mount is made or undone, and proves that it really is, with everything that belongs to it. */
export async function settled({ pod, name, device, before }: Begun): Promise<'mounted' | 'undone'> {
  const phase = await until(`${name} to be mounted or undone`, () => endPhase(name), 120_000);
  if (phase === 'Mounted') {
    expect(await inPod(pod, `exec 3>${device} && echo opened`)).toMatchObject({ stdout: 'opened\n' });
    return 'mounted';
  }
  await slavesGone(pod);
  expect(await deviceState(pod)).toEqual(before);
  return 'undone';
}

/** `undefined` while it is on its way, or while nobody can tell. A mount that was never taken has failed. */
async function endPhase(name: string): Promise<string | undefined> {
  try {
    const mount = await deviceMount(name);
    if (mount === undefined) return 'Failed';
    const { phase } = mount.status;
    return phase === 'Pending' || phase === 'Releasing' ? undefined : phase;
  } catch {
    return undefined;
  }
}
