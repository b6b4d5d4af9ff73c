import { expect, test } from '@jest/globals';
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { shortage } from './shortage.ts';

const GPU = 'example.com/gpu';
const SLAVE = { namespace: 'apps', name: 'web-slave', uid: 'uid-of-slave' };

function container(count: number, restartPolicy?: string): V1Container {
  return {
    name: 'any',
    resources: { limits: { [GPU]: String(count), cpu: '5m' } },
    ...(restartPolicy && { restartPolicy }),
  };
}

function holder(count: number, phase = 'Running'): V1Pod {
  return { metadata: { uid: 'uid-of-other' }, spec: { containers: [container(count)] }, status: { phase } };
}

function slave(status: V1Pod['status'] = { phase: 'Running' }): V1Pod {
  return { metadata: { uid: SLAVE.uid }, spec: { containers: [container(1)] }, ...(status && { status }) };
}

const REFUSED = { phase: 'Failed', reason: 'UnexpectedAdmissionError' };
const NO_CPU = { phase: 'Failed', reason: 'OutOfcpu' };
const SIDECARS = { initContainers: [container(1, 'Always'), container(1, 'Always')], containers: [] };
const INITIALISED = { initContainers: [container(2), container(1)], containers: [container(1)] };

test.each<[what: string, allocatable: string | undefined, pods: readonly V1Pod[], wanted: string, found: string]>([
  ['a slave that the kubelet has refused', '8', [slave(REFUSED)], '', 'passing'],
  ['a slave that was refused for another reason', '8', [slave(NO_CPU)], '', 'lasting'],
  ['another pod that was refused', '8', [{ ...holder(1), status: REFUSED }], '', 'lasting'],
  ['a resource with nothing to allocate', '0', [holder(1)], '1', 'passing'],
  ['a resource that the Node does not have', undefined, [], '1', 'lasting'],
  ['devices that others have', '2', [holder(1), holder(1)], '1', 'lasting'],
  ['devices that are free by now', '2', [holder(1)], '1', 'passing'],
  ['fewer free devices than wanted', '3', [holder(1)], '3', 'lasting'],
  ['devices of pods that have ended', '1', [holder(1, 'Succeeded'), holder(1, 'Failed')], '1', 'passing'],
  ['devices that other slaves of the mount hold', '2', [holder(1), slave()], '1', 'passing'],
  ['devices of sidecars', '2', [{ ...holder(0), spec: SIDECARS }], '1', 'lasting'],
  ['devices that init containers had more of', '3', [{ ...holder(0), spec: INITIALISED }], '1', 'passing'],
  ['devices that init containers have all of', '2', [{ ...holder(0), spec: INITIALISED }], '1', 'lasting'],
])('shortage() of %s', async (_what, allocatable, pods, wanted, found) => {
  const status = { allocatable: { cpu: '4', ...(allocatable !== undefined && { [GPU]: allocatable }) } };
  const cluster = { getNode: async () => ({ status }), podsOn: async () => pods };
  const input = { node: 'n1', wanted: wanted === '' ? {} : { [GPU]: wanted }, slaves: [SLAVE] };
  expect(await shortage({ cluster }, input)).toBe(found);
});

test('shortage() of a node that is gone lasts', async () => {
  const cluster = { getNode: async () => undefined, podsOn: async () => [] };
  expect(await shortage({ cluster }, { node: 'n1', wanted: { [GPU]: '1' }, slaves: [SLAVE] })).toBe('lasting');
});
