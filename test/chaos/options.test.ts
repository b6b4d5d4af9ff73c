import { expect, test } from '@jest/globals';
import { parseOptions } from './options.ts';

test('parseOptions() reads what is given, and has defaults', () => {
  expect(parseOptions(['--faults', '30', '--seed', '7'])).toEqual({ faults: 30, seed: 7, print: false });
  expect(parseOptions(['--print'])).toMatchObject({ faults: 300, print: true });
  expect(parseOptions(['--mutation', 'check-left-out'])).toMatchObject({ faults: 100, mutation: 'check-left-out' });
});

test.each([
  [['--faults', 'many'], /--faults "many"/],
  [['--seed', '-1'], /seed/],
  [['--mutation', 'nonsense'], /mutation "nonsense": there are detach-does-nothing, /],
  [['--nonsense'], /nonsense/],
])('parseOptions() refuses %j', (argv, message) => {
  // Node's own errors are of another realm here.
  expect(() => parseOptions(argv)).toThrow(expect.objectContaining({ name: 'TypeError' }));
  expect(() => parseOptions(argv)).toThrow(message);
});
