import { describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../contract/device-mount.ts';
import { parseFieldSelector, parseLabelSelector } from './selectors.ts';

const MOUNT = {
  metadata: { name: 'm', namespace: 'ns', labels: { app: 'web', 'example.com/tier': 'front' } },
  spec: { podName: 'web-0', podUid: 'u', container: 'main', deviceType: 'HOSTDEV' },
  status: { phase: 'Mounted', node: 'n1', user: 'jane' },
} as unknown as DeviceMount;

describe('parseLabelSelector()', () => {
  test.each([
    ['app=web', true],
    ['app==web,example.com/tier=front', true],
    ['app=db', false],
    ['app!=db', true],
    ['none!=x', true],
    ['app in (db, web)', true],
    ['app notin (db,web)', false],
    ['none notin (x)', true],
    ['app', true],
    ['!app', false],
    ['!none , app in (web),example.com/tier', true],
    ['constructor', false],
    ['app=', false],
    ['app=in', false],
    ['in in (in)', false],
    ['app in (a,,web)', true],
    ['app in ()', false],
    [' app = web ,', true],
  ])('%s', (text, expected) => {
    const selector = parseLabelSelector(text);
    expect(typeof selector === 'string' ? selector : selector(MOUNT)).toBe(expected);
  });

  test.each([
    'a b',
    '=x',
    'app in web',
    'app=a b',
    '!app=x',
    'app in (a',
    'a/b/c',
    'app in (a b)',
    'app in ((web)',
    'app=a=b',
    'app>1',
    '!!app',
    'app in a)',
  ])('refuses %s', (text) => {
    expect(typeof parseLabelSelector(text)).toBe('string');
  });
});

test.each([
  ['a word and blanks', parseLabelSelector, (n: number) => `a${' '.repeat(n)}x\ny`],
  ['brackets', parseLabelSelector, (n: number) => '('.repeat(n)],
  ['signs', parseLabelSelector, (n: number) => `a${'!'.repeat(n)}`],
  ['words', parseLabelSelector, (n: number) => `a in (${'b '.repeat(n)}`],
  ['a word', parseFieldSelector, (n: number) => `${'a'.repeat(n)}\n=`],
])('a selector of 100,000 %s is refused in less than a second', (_name, parse, textOf) => {
  const startedMs = performance.now();
  expect(typeof parse(textOf(100_000))).toBe('string');
  expect(performance.now() - startedMs).toBeLessThan(1_000);
});

describe('parseFieldSelector()', () => {
  test.each([
    ['metadata.name=m', true, 'm'],
    ['metadata.name=x', false, 'x'],
    ['metadata.name!=x', true, undefined],
    ['status.phase==Mounted,status.node=n1', true, undefined],
    ['metadata.namespace=ns,status.phase!=Mounted', false, undefined],
  ])('%s', (text, expected, name) => {
    const selector = parseFieldSelector(text);
    expect(typeof selector === 'string' ? selector : [selector.matches(MOUNT), selector.name]).toEqual([
      expected,
      name,
    ]);
  });

  test.each(['metadata.name', 'toString=x', 'spec.resources=1'])('refuses %s', (text) => {
    expect(typeof parseFieldSelector(text)).toBe('string');
  });
});
