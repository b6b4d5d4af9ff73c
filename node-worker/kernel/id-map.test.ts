import { expect, test } from '@jest/globals';
import { hostIdOf } from './id-map.ts';

const POD = '         0 2868117504      65536\n';

test.each([
  ['the root of a pod', POD, 0, 2_868_117_504],
  ['a user of a pod', POD, 1000, 2_868_118_504],
  ['an id beyond the map', POD, 65_536, undefined],
  ['the host', '         0          0 4294967295\n', 7, 7],
  ['the second line', '0 1000 1\n1 100000 65536\n', 5, 100_004],
  ['no map', '', 0, undefined],
])('hostIdOf() finds %s', (_, map, id, host) => {
  expect(hostIdOf(map, id)).toBe(host);
});
