import { describe, expect, test } from '@jest/globals';
import { allow, everything, type RuntimeRule } from '../cgroup/runtime-rule.ts';
import { parseContainerInfo } from './container-info.ts';

const ANY = '*';
/** Rules as runtimes write them in JSON, and how they are read. */
const RULES: readonly (readonly [string, unknown, readonly RuntimeRule[]])[] = [
  ['one for everything', [{ allow: false, access: 'rwm' }], [everything(false)]],
  ['one of a device', [{ allow: true, type: 'c', major: 10, minor: 229, access: 'rw' }], [allow('c', 10, 229, 'rw')]],
  ['one of a major number', [{ allow: true, type: 'b', major: 8, access: 'r' }], [allow('b', 8, ANY, 'r')]],
  ['-1 for any', [{ allow: true, type: 'c', major: -1, minor: -1, access: 'm' }], [allow('c', ANY, ANY, 'm')]],
  ['null for any', [{ allow: true, type: 'c', major: 1, minor: null, access: 'm' }], [allow('c', 1, ANY, 'm')]],
  ['none', [], []],
];

describe('parseContainerInfo()', () => {
  test.each(RULES)('reads %s', (_, devices, rules) => {
    const info = { pid: 7, runtimeType: 'io.containerd.runc.v2', runtimeSpec: { linux: { resources: { devices } } } };
    expect(parseContainerInfo(JSON.stringify(info))).toEqual({
      pid: 7,
      runtimeType: 'io.containerd.runc.v2',
      spec: rules,
    });
  });

  test.each([
    ['no spec', undefined],
    ['a spec without Linux', { process: {} }],
    ['no resources', { linux: {} }],
    ['an unknown type', { linux: { resources: { devices: [{ allow: true, type: 'u', access: 'r' }] } } }],
    ['an unknown access', { linux: { resources: { devices: [{ allow: true, type: 'c', access: 'x' }] } } }],
    ['something else', 'x'],
  ])('knows no rules of %s, and the rest', (_, runtimeSpec) => {
    expect(parseContainerInfo(JSON.stringify({ pid: 7, runtimeSpec }))).toEqual({ pid: 7 });
  });

  test('refuses what has no pid', () => {
    expect(() => parseContainerInfo('{}')).toThrow();
  });
});
