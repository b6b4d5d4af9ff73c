import { describe, expect, test } from '@jest/globals';
import { inspectArguments } from './arguments.ts';

const ID = 'c'.repeat(64);
const DEFAULTS = { containerId: ID, stateDir: '/var/lib/device-mounter', hostRoot: undefined };

describe('inspectArguments()', () => {
  test.each([
    [['inspect', ID], DEFAULTS],
    [['inspect', `containerd://${ID}`], DEFAULTS],
    [['inspect', `cri-o://${ID}`], DEFAULTS],
    [['--host-root', '/h', 'inspect', ID, '--state-dir=/s'], { containerId: ID, stateDir: '/s', hostRoot: '/h' }],
    [['--help'], 'help'],
    [['inspect', '--help'], 'help'],
  ])('reads %j', (words, expected) => {
    expect(inspectArguments(words)).toEqual(expected);
  });

  test.each([
    [[], 'the command must be inspect'],
    [['mount', ID], 'Cannot mount'],
    [['inspect'], 'a container id must be given'],
    [['inspect', ID, 'x'], 'is also "x"'],
    [['inspect', ID, '--force'], '--force'],
    [['inspect', ID, '--state-dir'], 'state-dir'],
  ])('refuses %j', (words, message) => {
    expect(() => inspectArguments(words)).toThrow(message);
  });
});
