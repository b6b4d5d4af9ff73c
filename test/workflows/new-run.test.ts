import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { findMounts } from '../../activities/find-mounts.ts';
import { failureOf } from '../../contract/failures.ts';
import { MOUNT_MEMO, SIGNALS } from '../../contract/workflows.ts';
import { Harness } from './harness.ts';
import { beforeNewRun, lengthen, SHORT_HISTORIES } from './new-run.ts';
import { eventually, failureFrom } from './outcome.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ settings: SHORT_HISTORIES });
});
afterAll(() => harness.stop());

function decoded(fields: Record<string, Payload> | null | undefined): object {
  const values = Object.entries(fields ?? {}).map(([key, payload]) => [
    key,
    defaultPayloadConverter.fromPayload(payload),
  ]);
  return Object.fromEntries(values);
}

/** What the latest run of a mount's workflow was started with: what clients see until its first step. */
async function startOf(name: string): Promise<{ readonly memo: object; readonly searchAttributes: object }> {
  const { events } = await harness.handle(name).fetchHistory();
  const started = events?.[0]?.workflowExecutionStartedEventAttributes;
  return { memo: decoded(started?.memo?.fields), searchAttributes: decoded(started?.searchAttributes?.indexedFields) };
}

describe('a mount whose history has become long', () => {
  test('goes on in a new run, whose clients and unmounts find it from the start', async () => {
    const node = await harness.addNode('long', 1);
    const request = signed(mountRequest('long', { leaseSeconds: 600 }));
    await harness.mount(request);
    const { metadata } = await harness.recordOf('long-m');
    const { runId } = await harness.handle('long-m').describe();
    await lengthen(harness, 'long-m');
    await eventually(async () => (await harness.handle('long-m').describe()).runId !== runId);
    const { memo, searchAttributes } = await startOf('long-m');
    expect(memo).toMatchObject({ [MOUNT_MEMO]: { metadata: { uid: metadata.uid }, status: { phase: 'Mounted' } } });
    expect(searchAttributes).toMatchObject({ MountPhase: 'Mounted', MountPod: 'long', MountNode: 'long' });
    await harness.unmount(signed(unmountRequest('long')));
    expect(await harness.handle('long-m').result()).toMatchObject({ status: { phase: 'Released' } });
    expect(harness.leftOf('long', node)).toEqual([]);
  });

  test.each([
    ['a release', 'hears-release', 'COMPLETED', () => harness.handle('hears-release-m').signal(SIGNALS.release, {})],
    ['the end of its target', 'hears-end', 'COMPLETED', () => harness.handle('hears-end-m').signal(SIGNALS.targetGone)],
    ['a Cancel', 'hears-cancel', 'CANCELLED', () => harness.handle('hears-cancel-m').cancel()],
  ])('hears %s that comes just before its new run', async (_name, pod, status, tell) => {
    const node = await harness.addNode(pod, 1);
    await harness.mount(signed(mountRequest(pod, { leaseSeconds: 600 })));
    await eventually(() => harness.eventsOf(pod).length === 1);
    const { runId } = await harness.handle(`${pod}-m`).describe();
    await beforeNewRun(harness, `${pod}-m`, tell);
    const first = harness.client.workflow.getHandle(harness.handle(`${pod}-m`).workflowId, runId);
    const ended = await eventually(async () => {
      const { name } = (await first.describe()).status;
      return name === 'RUNNING' ? undefined : name;
    });
    expect(ended).toBe(status);
    expect(harness.leftOf(pod, node)).toEqual([]);
  });
});

describe('an unmount whose node fails again and again', () => {
  test('ends with what stands in the way before its history is too long, and can be repeated', async () => {
    const node = await harness.addNode('failing', 1);
    await harness.mount(signed(mountRequest('failing')));
    node.failing = 'Internal';
    const unmount = signed(unmountRequest('failing'));
    expect(await failureFrom(harness.unmount(unmount))).toMatchObject({
      type: 'Internal',
      message: 'Cannot detach: Internal',
    });
    expect(await harness.handle('failing-m').query('deviceMount')).toMatchObject({ status: { phase: 'Mounted' } });
    node.failing = undefined;
    await harness.unmount(signed(unmountRequest('failing')));
    expect(await harness.handle('failing-m').result()).toMatchObject({ status: { phase: 'Released' } });
    expect(harness.leftOf('failing', node)).toEqual([]);
  });
});

describe('every history of these mounts', () => {
  test('replays', async () => {
    expect(await harness.replayed()).toEqual([]);
  });
});

describe('a mount that has not begun', () => {
  test('is read by its word, as it has no record yet', async () => {
    await harness.addNode('early', 1);
    await harness.stopControl();
    const mounting = harness.mount(signed(mountRequest('early')));
    await eventually(() => harness.statusOf('early-m').catch(() => undefined));
    const mounts = harness.mounts();
    const reading = eventually(() =>
      mounts.earlier(NAMESPACE, 'early-m').then(
        (earlier) => earlier?.mount ?? 'not there',
        () => undefined,
      ),
    );
    await harness.startControl();
    await mounting;
    const { metadata } = await harness.recordOf('early-m');
    expect(await reading).toMatchObject({ metadata: { uid: metadata.uid } });
  });

  test('is asked by findMounts() instead of being taken for absent', async () => {
    const node = await harness.addNode('unborn', 1);
    const request = signed(mountRequest('unborn'));
    await harness.stopControl();
    const mounting = failureFrom(harness.mount(request));
    await eventually(() => harness.statusOf('unborn-m').catch(() => undefined));
    const unmount = signed(unmountRequest('unborn', { mount: 'unborn-m' }));
    const finding = eventually(() =>
      findMounts(harness.dependencies(), { signed: unmount }).catch((err: unknown) => {
        if (failureOf(err) !== undefined) throw err;
        return undefined;
      }),
    );
    await harness.startControl();
    expect(await finding).toMatchObject([{ owned: true, mount: { metadata: { name: 'unborn-m' } } }]);
    await mounting;
    await harness.unmount(signed(unmountRequest('unborn')));
    expect(harness.leftOf('unborn', node)).not.toContain(`${NAMESPACE}/unborn-m`);
  });
});
