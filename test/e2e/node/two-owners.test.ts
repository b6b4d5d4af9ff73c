import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { mountWorkflowId } from '../../../contract/names.ts';
import { CLUSTER_NAME } from '../../../deploy/local/addresses.ts';
import { Ends } from '../ended.ts';
import { inPod } from '../exec.ts';
import { ask } from '../kube.ts';
import { isMine, laneNode, NAMESPACE } from '../lane.ts';
import { busybox, deviceMount, eventsOf, FUSE, mountOk, podPath } from '../pods.ts';
import { expectNoPods } from '../targets.ts';
import { temporalCli } from '../temporal.ts';
import { until } from '../until.ts';

const node = laneNode().name;
const all = new Ends();
beforeAll(() => all.start([laneNode()]));
afterAll(async () => {
  await all.stop();
  await expectNoPods();
});
afterEach(() => all.deletePods());

/** Opens the device as soon as it is there, as the container's main process, and never closes it. */
const HOLDER = {
  containers: [
    busybox(['sh', '-c', 'while ! test -e /dev/fuse; do sleep 1; done; exec 3<>/dev/fuse; exec sleep 100000']),
  ],
};

/** Whether the main process of the container has the device open now; one whose container does not run has not. */
async function holds(pod: string): Promise<boolean> {
  try {
    return (await inPod(pod, 'ls -l /proc/1/fd')).stdout.includes('/dev/fuse');
  } catch {
    return false;
  }
}

const deleteSlave = ({ status }: DeviceMount): Promise<unknown> => ask('DELETE', podPath(status.slaves[0]?.name ?? ''));

/** The nodes take turns: the grace of a slave passes in each. */
const WAYS: readonly (readonly [string, (mounted: DeviceMount) => Promise<unknown>, string])[] = [
  ['delete of its slave', deleteSlave, 'SlaveEnded'],
  [
    'Cancel in Temporal',
    ({ metadata }) =>
      temporalCli('workflow', 'cancel', '--workflow-id', mountWorkflowId(CLUSTER_NAME, NAMESPACE, metadata.name)),
    'Canceled',
  ],
  ['delete of its slave', deleteSlave, 'SlaveEnded'],
];

describe('two containers never have the one device open at the same time, though PID 1 of the first holds it, after', () => {
  test.each(WAYS.filter((_way, index) => isMine(index)))('%s', async (_name, end, reason) => {
    const first = await all.target(node, HOLDER);
    const second = await all.target(node, HOLDER);
    const mounted = await mountOk(first, FUSE, '&wait_second=30');
    await until('the first to hold the device', () => holds(first));
    const next = await mountOk(second, FUSE, '&queue=true&wait_second=0');
    await end(mounted);

    // One after the other, so that their order is that in time.
    const looks: string[] = [];
    const look = async (): Promise<boolean> => {
      if (await holds(first)) looks.push('first');
      const isHeld = await holds(second);
      if (isHeld) looks.push('second');
      return isHeld;
    };
    await until('the second to hold the device', look, undefined, 0);
    await look();
    expect(looks.slice(looks.indexOf('second'))).toEqual(['second', 'second']);

    await until(
      'the second to be shown',
      async () => (await deviceMount(next.metadata.name))?.status.phase === 'Mounted',
    );
    const closed = await all.temporal.closed(mounted.metadata.name);
    expect(closed).toMatchObject({ mount: { status: { reason } } });
    expect(await eventsOf(mounted.spec.podUid, 'EndDeviceUsers')).toEqual([
      expect.stringMatching(`main process of the container.*Reason: .*mount ${mounted.metadata.name} of`),
    ]);
  });
});
