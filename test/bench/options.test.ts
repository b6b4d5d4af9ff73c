import { expect, test } from '@jest/globals';
import { chosenNodes, parseOptions } from './options.ts';

test('parseOptions() measures 30 rounds on all nodes unless told otherwise', () => {
  expect(parseOptions(['mount'])).toEqual({
    names: ['mount'],
    json: false,
    rounds: 30,
    type: 'HOSTDEV',
    out: 'docs/images/mount-trace.svg',
  });
  expect(parseOptions(['mount', '--json', '--rounds', '3', '--node=node-2'])).toMatchObject({
    json: true,
    rounds: 3,
    node: 'node-2',
  });
});

test.each([['0'], ['x'], ['1.5']])('parseOptions() refuses --rounds %s', (rounds) => {
  expect(() => parseOptions(['mount', '--rounds', rounds])).toThrow(/--rounds/);
});

test('parseOptions() refuses a --type that has no devices on the local cluster', () => {
  expect(parseOptions(['trace', '--type', 'GENERIC'])).toMatchObject({ type: 'GENERIC' });
  expect(() => parseOptions(['trace', '--type', 'NVIDIA_GPU'])).toThrow(/--type.*HOSTDEV or GENERIC/);
});

test('chosenNodes() refuses a node that is not there', () => {
  const nodes = [{ name: 'node-1' }, { name: 'node-2' }];
  const { names: _, ...all } = parseOptions([]);
  expect(chosenNodes(nodes, all)).toEqual(nodes);
  expect(chosenNodes(nodes, { ...all, node: 'node-2' })).toEqual([{ name: 'node-2' }]);
  expect(() => chosenNodes(nodes, { ...all, node: 'node-9' })).toThrow(/node-9/);
});
