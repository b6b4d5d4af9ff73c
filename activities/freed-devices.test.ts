import { expect, test } from '@jest/globals';
import type { V1Pod } from '@kubernetes/client-node';
import { FreedDevices } from './freed-devices.ts';
import type { PodListener } from './pod-watch.ts';

const claims = [{ name: 'gpu', resourceClaimName: 'gpu-of-web' }];

function slave(what: { readonly resource?: string; readonly claims?: true }, node = 'n1', ending = false): V1Pod {
  const matchFields = [{ key: 'metadata.name', operator: 'In', values: [node] }];
  const required = { nodeSelectorTerms: [{ matchFields }] };
  return {
    metadata: { ...(ending && { deletionTimestamp: new Date() }) },
    spec: {
      ...(ending && { nodeName: node }),
      affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } },
      containers: [
        { name: 'slave', resources: { limits: { cpu: '5m', ...(what.resource && { [what.resource]: '1' }) } } },
      ],
      ...(what.claims && { resourceClaims: claims }),
    },
  };
}

/** Whether `waiting` may soon get what `ending` has, while that ends and once it has gone. */
function served(ending: V1Pod, waiting: V1Pod): readonly boolean[] {
  const listeners: PodListener[] = [];
  const pods = [ending];
  const freed = new FreedDevices({
    all: () => pods,
    subscribe: (listener) => {
      listeners.push(listener);
      return () => undefined;
    },
  });
  const before = freed.mayServe(waiting);
  pods.pop();
  for (const tell of listeners) tell(undefined, ending);
  return [before, freed.mayServe(waiting)];
}

test.each([
  ['the same resource', slave({ resource: 'a/x' }, 'n1', true), slave({ resource: 'a/x' }), true],
  ['another resource', slave({ resource: 'a/x' }, 'n1', true), slave({ resource: 'a/y' }), false],
  ['the same resource of another node', slave({ resource: 'a/x' }, 'n2', true), slave({ resource: 'a/x' }), false],
  ['a claim, whatever that stands for', slave({ claims: true }, 'n1', true), slave({ claims: true }), true],
  ['a claim of another node', slave({ claims: true }, 'n2', true), slave({ claims: true }), false],
  ['a resource while a claim is wanted', slave({ resource: 'a/x' }, 'n1', true), slave({ claims: true }), false],
])('FreedDevices of a slave that ends with %s: %#', (_name, ending, waiting, may) => {
  expect(served(ending, waiting)).toEqual([may, may]);
});
