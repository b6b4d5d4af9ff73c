import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { mountWorkflowId } from '../../../contract/names.ts';
import { SIGNALS } from '../../../contract/workflows.ts';
import { CLUSTER_NAME } from '../../../deploy/local/addresses.ts';
import { deviceState } from '../device-state.ts';
import { Ends, type Mounted } from '../ended.ts';
import { canOpen } from '../exec.ts';
import { isMine, laneNode, NAMESPACE } from '../lane.ts';
import { deviceMount, unmount } from '../pods.ts';
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

/** The unmount says so, the container has lost the device, and another gets it. */
async function expectUnmounted({ pod, mounted, before }: Mounted): Promise<void> {
  expect(await unmount(pod)).toMatchObject({
    status: 200,
    body: { items: [{ metadata: { uid: mounted.metadata.uid }, status: { phase: 'Released' } }] },
  });
  expect(await deviceState(pod)).toEqual(before);
  await all.expectEnded(mounted, { status: 'COMPLETED', reason: 'Unmounted' });
  await all.expectFree(node);
}

/** By their names, with what no client of ours sends. */
const MALFORMED = [
  ['renew', '{}'],
  ['released', '7'],
  ['containerRestarted', '{"reapplied": false}'],
] as const;

// Once for each version of cgroup.
if (!isMine(2))
  test('malformed signals change nothing: the mount lives, says so, and is unmounted as ever', async () => {
    const target = await all.mountedTarget(node);
    const { name } = target.mounted.metadata;
    const workflow = ['--workflow-id', mountWorkflowId(CLUSTER_NAME, NAMESPACE, name)];
    for (const [signal, input] of MALFORMED) {
      await temporalCli('workflow', 'signal', ...workflow, '--name', signal, '--input', input);
      const told = await until(`the mount to tell of ${signal}`, async () => {
        const { status } = (await deviceMount(name)) ?? {};
        return status?.message?.startsWith(`Ignored the signal "${signal}": `) && status;
      });
      expect(told.phase).toBe('Mounted');
    }
    expect(await canOpen(target.pod, '/dev/fuse')).toBe(true);
    await expectUnmounted(target);
  });

/** Signals at a time: fewer than a workflow may have waiting. */
const AT_ONCE = 25;

/** Makes the history of a mount so long that it goes on in a new run; whoever asks meanwhile sees no difference. */
async function goesOnInNewRun({ metadata }: DeviceMount): Promise<void> {
  const handle = all.temporal.client.workflow.getHandle(mountWorkflowId(CLUSTER_NAME, NAMESPACE, metadata.name));
  const { runId } = await handle.describe();
  const renew = () => handle.signal(SIGNALS.renew, { leaseSeconds: 3_600 });
  await until(
    'a new run',
    async () => {
      await Promise.all(Array.from({ length: AT_ONCE }, renew));
      const seen = await deviceMount(metadata.name);
      expect([seen?.metadata.uid, seen?.status.phase]).toEqual([metadata.uid, 'Mounted']);
      return (await handle.describe()).runId !== runId;
    },
    undefined,
    0,
  );
}

// It takes a thousand events.
if (isMine(2))
  test('an unmount finds a mount that has just gone on in a new run', async () => {
    const target = await all.mountedTarget(node, {}, { leaseSeconds: 3_600 });
    await goesOnInNewRun(target.mounted);
    await expectUnmounted(target);
  });
