import { describe, expect, test } from '@jest/globals';
import { helpText, readOptions, wholeNumber } from './options.ts';

const OPTIONS = {
  port: { env: 'PORT', default: '8443', help: 'Port to listen on.', value: 'port', check: wholeNumber(1, 65_535) },
  node: { env: 'NODE_NAME', required: true, help: 'Name of the node.', value: 'name' },
  kubeconfig: { help: 'File with the cluster to use; without it the pod’s own.', value: 'file' },
} as const;

describe('readOptions()', () => {
  test.each([
    ['a flag before the environment', ['--port', '1', '--node', 'a'], { PORT: '2' }, { port: '1', node: 'a' }],
    ['the environment before the default', ['--node=a'], { PORT: '2' }, { port: '2', node: 'a' }],
    ['the default', [], { NODE_NAME: 'b' }, { port: '8443', node: 'b' }],
    ['an empty variable as unset', ['--node', 'a'], { PORT: '' }, { port: '8443', node: 'a' }],
    ['a value with an equals sign', ['--node=a=b'], {}, { port: '8443', node: 'a=b' }],
  ])('takes %s', (_name, argv, env, settings) => {
    expect(readOptions(OPTIONS, argv, env)).toEqual({ kind: 'settings', settings });
  });

  test('reports every problem at once', () => {
    const argv = ['--port', '0', '--colour', 'red', '-v', '--', '--port'];
    expect(readOptions(OPTIONS, argv, {})).toEqual({
      kind: 'problems',
      problems: [
        ...['--colour', 'red', '-v', '--', '--port'].map((word) => `Cannot understand "${word}": see --help`),
        'Cannot use "0" for --port: it must be a whole number from 1 to 65535',
        'Cannot start without --node (or NODE_NAME): Name of the node.',
      ],
    });
  });

  test.each([
    [['--node', 'a', '--port'], 'Cannot use --port without a value'],
    [['--node', 'a', '--node=b'], 'Cannot use --node twice'],
    [['--node', 'a', '--toString', 'x'], 'Cannot understand "--toString": see --help'],
  ])('refuses %j', (argv, problem) => {
    expect(readOptions(OPTIONS, argv, {})).toMatchObject({
      kind: 'problems',
      problems: expect.arrayContaining([problem]),
    });
  });

  test('asks for help wherever --help stands', () => {
    expect(readOptions(OPTIONS, ['--port', '0', '--help'], {})).toEqual({ kind: 'help' });
  });
});

describe('helpText()', () => {
  test('names each flag with its value, default and variable', () => {
    expect(helpText('Serves.', OPTIONS)).toBe(`Serves.

  --port <port>
      Port to listen on. (default 8443; environment PORT)
  --node <name>
      Name of the node. (required; environment NODE_NAME)
  --kubeconfig <file>
      File with the cluster to use; without it the pod’s own.
`);
  });
});
