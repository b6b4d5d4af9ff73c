import { expect } from '@jest/globals';
import { type DeviceState, deviceState } from './device-state.ts';
import { inPod } from './exec.ts';
import { deviceMount, slavesGone } from './pods.ts';
import { Temporal } from './temporal.ts';
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
  if ((await endPhase(name)) === 'Mounted') {
    await until(`${name} to be shown`, async () => (await deviceMount(name))?.status.phase === 'Mounted');
    expect(await inPod(pod, `exec 3>${device} && echo opened`)).toMatchObject({ stdout: 'opened\n' });
    return 'mounted';
  }
  await slavesGone(pod);
  expect(await deviceState(pod)).toEqual(before);
  return 'undone';
}

/** By Temporal, which knows of a mount before anybody shows it. One that was never taken has failed. */
async function endPhase(name: string): Promise<string> {
  const temporal = new Temporal();
  const phaseNow = async (): Promise<string | undefined> => {
    try {
      const phase = (await temporal.workflowOf(name))?.mount?.status.phase ?? 'Failed';
      return phase === 'Pending' || phase === 'Releasing' ? undefined : phase;
    } catch {
      // Temporal is not back yet.
      return undefined;
    }
  };
  try {
    return await until(`${name} to be mounted or undone`, phaseNow, 300_000);
  } finally {
    await temporal.close();
  }
}
