import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TemporalMounts } from '../../apiserver/temporal-mounts.ts';
import { newMount } from './apiserver-mount.ts';
import { Harness } from './harness.ts';
import { mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

const START_MS = 120_000;
const TEST_MS = 40_000;
/** What a workflow tells of itself takes up to a second into lists, as with external Temporals. */
const SLOW_LISTS = ['history.visibilityProcessorMaxPollRPS=1', 'history.visibilityProcessorMaxPollHostRPS=1'];

let harness: Harness;
let mounts: TemporalMounts;
beforeAll(async () => {
  harness = await Harness.start(SLOW_LISTS);
  mounts = harness.mounts();
}, START_MS);
afterAll(() => harness.stop(), START_MS);

describe('TemporalMounts.list()', () => {
  test(
    'has each mount, and its end, as soon as the caller was answered',
    async () => {
      await harness.addNode('listed', 8);
      for (let index = 0; index < 4; index += 1) {
        const request = mountRequest('listed', { name: `listed-${index}` });
        const { mount } = await mounts.mount(newMount(request, true), 15_000);
        expect((await phases())[mount.metadata.name]).toBe('Mounted');
      }
      await mounts.unmount(signed(unmountRequest('listed', { mount: 'listed-0' })), 15_000);
      expect((await phases())['listed-0']).toMatch(/^Releas/);
    },
    TEST_MS,
  );
});

async function phases(): Promise<Record<string, string>> {
  const { items } = await mounts.list(NAMESPACE);
  return Object.fromEntries(items.map(({ metadata, status }) => [metadata.name, status.phase]));
}
