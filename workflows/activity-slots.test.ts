import { expect, test } from '@jest/globals';
import type { SlotPermit, SlotReserveContext } from '@temporalio/worker';
import { ActivitySlots } from './activity-slots.ts';

const CONTEXT: SlotReserveContext = {
  slotType: 'activity',
  taskQueue: 'q',
  workerIdentity: 'w',
  workerBuildId: 'b',
  isSticky: false,
};
const NEVER = new AbortController().signal;

/** Counts the permits that have been given. */
function asking(slots: ActivitySlots, count: number, signal = NEVER) {
  const given: SlotPermit[] = [];
  const asked = Array.from({ length: count }, () =>
    slots.reserveSlot(CONTEXT, signal).then((permit) => given.push(permit)),
  );
  return { given, asked };
}

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const working = (activityType: string) => ({ type: 'activity', activityType }) as const;

test('gives as many as may work, and the others in turn when one has ended', async () => {
  const slots = new ActivitySlots(2, []);
  const { given } = asking(slots, 4);
  await soon();
  expect([given.length, slots.tryReserveSlot()]).toEqual([2, null]);
  slots.releaseSlot({ permit: given[0] as SlotPermit, slotInfo: working('a') });
  await soon();
  expect(given.length).toBe(3);
  slots.releaseSlot({ permit: given[1] as SlotPermit });
  slots.releaseSlot({ permit: given[2] as SlotPermit });
  await soon();
  expect([given.length, slots.tryReserveSlot()]).toEqual([4, expect.anything()]);
});

test('any number may wait, and gives its slot back once', async () => {
  const slots = new ActivitySlots(1, ['wait']);
  const { given } = asking(slots, 4);
  for (let count = 1; count <= 3; count += 1) {
    await soon();
    expect(given.length).toBe(count);
    slots.markSlotUsed({ permit: given[count - 1] as SlotPermit, slotInfo: working('wait') });
  }
  await soon();
  slots.markSlotUsed({ permit: given[3] as SlotPermit, slotInfo: working('work') });
  for (const permit of given.slice(0, 3)) slots.releaseSlot({ permit, slotInfo: working('wait') });
  expect(slots.tryReserveSlot()).toBeNull();
  slots.releaseSlot({ permit: given[3] as SlotPermit, slotInfo: working('work') });
  expect([slots.tryReserveSlot(), slots.tryReserveSlot()]).toEqual([expect.anything(), null]);
});

test('who gives up while waiting gets none, and keeps none from others', async () => {
  const slots = new ActivitySlots(1, []);
  const { given } = asking(slots, 1);
  const leaving = new AbortController();
  const gone = asking(slots, 1, leaving.signal);
  const { given: later } = asking(slots, 1);
  leaving.abort();
  await expect(gone.asked[0]).rejects.toBe(leaving.signal.reason);
  await soon();
  slots.releaseSlot({ permit: given[0] as SlotPermit });
  await soon();
  expect([gone.given.length, later.length]).toEqual([0, 1]);
});
