import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { NODES } from '../cluster.ts';
import { failureIn } from '../kube.ts';
import { kubectlOk, kubectlUntil } from '../kubectl.ts';
import { apiAvailable } from '../nodes.ts';
import { deviceMount, FUSE, mount, mountOk, startPod } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { until } from '../until.ts';
import {
  bringEverythingBack,
  createNamespace,
  deleteNamespace,
  namespaceGone,
  takeEverythingDown,
} from './namespaces.ts';

/** It ends while there is nobody to end it: later than Temporal is killed on a slow machine. */
const LEASE_SECONDS = 30;

let pod: string;
let name: string;
/** Output of a watch that was begun while all was down. */
let watched: Promise<string>;

beforeAll(async () => {
  pod = await startPod(NODES[0]?.name ?? '');
  ({ name } = (await mountOk(pod, FUSE, '&wait_second=30', { leaseSeconds: LEASE_SECONDS })).metadata);
});
afterAll(async () => {
  await removeTargets([pod]);
  await expectNoPods();
});

describe('with Temporal, the control worker and every node worker down', () => {
  beforeAll(takeEverythingDown);
  afterAll(bringEverythingBack);

  test('a namespace is deleted', async () => {
    await createNamespace('contract-empty');
    await deleteNamespace('contract-empty');
    await namespaceGone('contract-empty');
  });

  test('the API is Available, and what needs Temporal says so', async () => {
    await apiAvailable();
    expect(failureIn(await mount(pod, FUSE))).toBe('TemporalUnavailable');
  });

  test('mounts can be read and watched, as they were last known', async () => {
    const { status } = (await deviceMount(name)) ?? {};
    await until('the lease to be over', async () => Date.now() > Date.parse(status?.leaseEndsAt ?? ''));
    expect(await kubectlOk(['get', 'devicemounts', name])).toMatch(new RegExp(`${name} +Mounted +${pod} `));
    watched = kubectlUntil(['get', 'devicemounts', name, '-w'], /Released/).catch(String);
  });
});

test('when all is back, the watch that went on tells what has become of a mount', async () => {
  expect(await watched).toMatch(/ Mounted [\s\S]* Released /);
  expect((await deviceMount(name))?.status).toMatchObject({ phase: 'Released', reason: 'LeaseEnded' });
});
