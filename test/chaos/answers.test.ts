import { expect, test } from '@jest/globals';
import { problemOf } from './answers.ts';

const OWN = { metadata: { uid: '019c5e3a-0000-7000-8000-00000000000a' }, spec: { podName: 'web' } };
const MOUNT = { ...OWN, status: { phase: 'Released', mountedAt: 'then' } };
const FAILED = { ...OWN, status: { phase: 'Failed', reason: 'InsufficientDevices' } };
const mounted = { name: 'm', result: 'mounted', slave: 'web-slave-00000000000a-0' } as const;
const failed = { name: 'm', result: 'failed', failure: 'InsufficientDevices' } as const;

test.each([
  ['mounted, and it was', mounted, MOUNT, undefined],
  ['mounted, and nobody knows it', mounted, undefined, /never was/],
  ['mounted, and it has failed', mounted, FAILED, /never was/],
  ['mounted, and it is another', { ...mounted, slave: 'web-slave-00000000000b-0' }, MOUNT, /slave .*b-0, has .*a-0/],
  ['failed, and it has', failed, FAILED, undefined],
  ['failed, and nobody knows it', failed, undefined, undefined],
  ['failed, and it was mounted', failed, MOUNT, /answered InsufficientDevices and is Released/],
  ['failing, and it has for another reason', { ...failed, failure: 'Timeout', early: true }, FAILED, undefined],
  ['failing, and it was mounted', { ...failed, early: true }, MOUNT, /and is Released/],
  ['failed for another reason', { ...failed, failure: 'Timeout' }, FAILED, /Timeout and has failed with Insufficient/],
])('problemOf() of a mount that was answered as %s', (_name, outcome, mount, problem) => {
  const told = problemOf(outcome, mount);
  if (problem === undefined) expect(told).toBeUndefined();
  else expect(told).toMatch(problem);
});
