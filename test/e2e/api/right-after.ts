import { expect } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { send } from '../../apiserver/send.ts';
import { find } from '../kube.ts';
import { KMSG, mountsPath } from '../pods.ts';
import { behalfOf, deployedReplicas, KEYS, mountPath } from './direct.ts';

const AS_ROOT = { client: KEYS.proxy, headers: behalfOf('root', 'system:masters') };

/**
 * Begins mounts in `pod` through one replica, and as soon as each is answered, unmounts through the next: the object is
 * there, and the unmount finds the mount by it, whatever visibility knows. Where a busy machine could not make the object within the time
 * that an answer has, the answer says so by having no version, and the unmount finds the mount all the same.
 */
export async function foundRightAfter(pod: string, rounds: number): Promise<void> {
  const replicas = await deployedReplicas();
  expect(replicas.length).toBeGreaterThan(1);
  let shown = 0;
  for (let round = 0; round < rounds; round++) {
    const [one, other] = [replicas[round % replicas.length], replicas[(round + 1) % replicas.length]];
    if (one === undefined || other === undefined) throw new Error('Cannot ask: there is no replica');
    const name = `${pod}-right-after-${round}`;
    const body = JSON.stringify({ name, resources: { [KMSG]: '1' } });
    const query = 'device_type=HOSTDEV&wait_second=0';
    const begun = await send(one, { method: 'PUT', path: mountPath(pod, query), body, ...AS_ROOT });
    // When its object is there, the mount may be made already.
    expect([202, 200]).toContain(begun.code);
    const { metadata } = begun.json as unknown as DeviceMount;
    if (metadata.resourceVersion !== '') {
      shown += 1;
      expect(await find(`${mountsPath()}/${name}`)).toMatchObject({ spec: { podName: pod } });
    }
    const path = mountPath(pod, `device_type=HOSTDEV&wait_second=30&mount=${name}`, 'unmount');
    const { code, text } = await send(other, { method: 'PUT', path, ...AS_ROOT });
    expect([code, text]).toEqual([200, expect.stringContaining(name)]);
  }
  expect(shown).toBeGreaterThan(0);
}
