import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { TemporalMounts } from '../../apiserver/temporal-mounts.ts';
import { mountWorkflowId } from '../../contract/names.ts';
import { newMount } from './apiserver-mount.ts';
import { Harness } from './harness.ts';
import { eventually, failureFrom } from './outcome.ts';
import { mountRequest, NAMESPACE } from './requests.ts';

jest.setTimeout(120_000);

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
}, 120_000);
afterAll(() => harness.stop());

test('a mount whose caller was told that its time was over is not made, whenever somebody works on it again', async () => {
  const node = await harness.addNode('late', 1);
  const attached = harness.gates.stop(mountWorkflowId(NAMESPACE, 'late-m'), {
    activity: 'attachDevices',
    when: 'after',
  });
  const mounts = new TemporalMounts(harness.client);
  const told = failureFrom(mounts.mount(newMount(mountRequest('late', { deadlineSeconds: 2 })), 40_000));
  await attached;
  await harness.stopControl();
  harness.gates.open();
  expect(await told).toMatchObject({ type: 'Timeout', causes: ['RollingBack'] });
  await harness.startControl();
  const phase = await eventually(async () => {
    const mount = await mounts.get(NAMESPACE, 'late-m');
    return mount?.status.phase === 'Pending' ? undefined : mount?.status;
  });
  expect(phase).toMatchObject({ phase: 'Failed', reason: 'Timeout' });
  expect(harness.leftOf('late', node)).toEqual([]);
});
