import { describe, expect, test } from '@jest/globals';
import { parseFlags } from './flags.ts';

const DEFAULTS = {
  command: 'start',
  once: false,
  detach: false,
  demo: true,
  product: true,
  nodes: 2,
  hostProcesses: false,
};

describe('parseFlags()', () => {
  test.each([
    ['nothing', [], DEFAULTS],
    ['--once', ['start', '--once'], { ...DEFAULTS, once: true }],
    ['--detach --no-demo', ['--detach', '--no-demo'], { ...DEFAULTS, detach: true, demo: false }],
    ['--no-product, which has no demo', ['--no-product'], { ...DEFAULTS, product: false, demo: false }],
    ['--nodes 3', ['start', '--nodes', '3'], { ...DEFAULTS, nodes: 3 }],
    ['--host-processes', ['--host-processes'], { ...DEFAULTS, hostProcesses: true }],
    ['stop', ['stop'], { command: 'stop' }],
  ])('reads %s', (_name, argv, flags) => {
    expect(parseFlags(argv)).toEqual(flags);
  });

  test.each([
    ['an unknown command', ['restart'], 'neither start nor stop'],
    ['two commands', ['start', 'stop'], 'one command is expected'],
    ['--once with --detach', ['--once', '--detach'], 'one ends the cluster'],
    ['--host-processes with node-3', ['--host-processes', '--nodes', '3'], 'process numbers of its own'],
    ['4 nodes', ['--nodes', '4'], '2 or 3 are possible'],
    ['an unknown option', ['--fast'], "Unknown option '--fast'"],
  ])('refuses %s', (_name, argv, message) => {
    expect(() => parseFlags(argv)).toThrow(message);
  });
});
