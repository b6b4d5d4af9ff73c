import { afterAll, expect, test } from '@jest/globals';
import { blocksOf, runBlock } from './guide.ts';
import { find, remove } from './kube.ts';
import { podPath, slavesGone } from './pods.ts';
import { expectNoPods } from './targets.ts';
import { until } from './until.ts';

afterAll(async () => {
  // Its shell hears no SIGTERM.
  await remove(`${podPath('web')}?gracePeriodSeconds=0`);
  await until('web to be gone', async () => (await find(podPath('web'))) === undefined);
  await slavesGone('web');
  await expectNoPods();
});

test('what README.md says to try next works as it is printed', async () => {
  const block = blocksOf('../../README.md').find(({ heading }) => heading === 'What to try next');
  // All but how long it waits. The object shows the mount a moment after its answer.
  const patient = (block?.text ?? 'false')
    .replaceAll('device_type=HOSTDEV', 'device_type=HOSTDEV&wait_second=38')
    .replace('kubectl wait ', 'kubectl wait --timeout=180s ')
    .replace('kubectl get devicemounts', 'until kubectl get devicemounts | grep " Mounted "; do sleep 0.1; done');
  const printed = await runBlock(patient, {});
  expect(printed).toMatch(/^opened$/m);
  expect(printed).toMatch(/^web-\S+ .* Mounted /m);
  expect(printed).toContain('"phase":"Released"');
});
