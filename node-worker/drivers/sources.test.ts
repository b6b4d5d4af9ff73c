import { describe, expect, test } from '@jest/globals';
import { allocationOf, memoryHost } from '../../test/node-worker/memory-host.ts';
import { namedFiles } from './sources.ts';

const SPEC = JSON.stringify({
  cdiVersion: '0.8.0',
  kind: 'v.com/gpu',
  devices: [{ name: '0', containerEdits: { mounts: [{ hostPath: '/h/b', containerPath: '/c/b' }] } }],
  containerEdits: { mounts: [{ hostPath: '/h/c', containerPath: '/c/a' }] },
});
const HOST = memoryHost({ '/etc/cdi/v.json': SPEC, '/h/a': '', '/h/b': '', '/h/c': '' });
const slave = { namespace: 'default', name: 's', uid: 's' };
const mount = (name: string) => ({ hostPath: `/h/${name}`, containerPath: `/c/${name}`, readOnly: false });

describe('namedFiles()', () => {
  test('gives what the answer and CDI specs mount, and of two for one path the last', () => {
    const answer = { mounts: [mount('a')], cdiDevices: ['v.com/gpu=0'] };
    expect(namedFiles({ slave, allocations: [allocationOf('v.com/gpu', ['0'], answer)] }, HOST)).toEqual([
      { hostPath: '/h/c', path: '/c/a' },
      { hostPath: '/h/b', path: '/c/b' },
    ]);
  });

  test('gives what the CDI specs of claims mount', () => {
    const claimed = [{ id: 'v.com/n/0', resource: 'resourceclaim:gpu', cdiDevices: ['v.com/gpu=0'] }];
    expect(namedFiles({ slave, allocations: [], claimed }, HOST).map(({ path }) => path)).toEqual(['/c/b', '/c/a']);
  });

  test('refuses what the host has not', () => {
    const allocations = [allocationOf('v.com/gpu', ['0'], { mounts: [mount('none')] })];
    expect(() => namedFiles({ slave, allocations }, HOST)).toThrow('the node has no "/h/none"');
  });
});
