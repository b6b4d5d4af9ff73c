import { expect, test } from '@jest/globals';
import { quantitiesFault, quantitiesOf } from './quantities.ts';

test.each([
  ['cpu=5m,memory=32Mi', { cpu: '5m', memory: '32Mi' }],
  ['memory=0.5Gi', { memory: '0.5Gi' }],
  ['ephemeral-storage=1M', { 'ephemeral-storage': '1M' }],
])('quantitiesOf() reads %s', (text, quantities) => {
  expect(quantitiesFault(text)).toBeUndefined();
  expect(quantitiesOf(text)).toEqual(quantities);
});

test.each(['cpu', 'cpu=', 'cpu=5m;memory=1Mi', 'cpu=5m,', 'cpu=fast', '=5m', 'cpu=-1'])(
  'quantitiesFault() refuses "%s"',
  (text) => {
    expect(quantitiesFault(text)).toContain('for example');
  },
);
