import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { Allocations } from './allocations.ts';

const TTY = { device: '/dev/tty', numbers: { '/dev/tty': 'c188:0' } };
let dir = '';
let lines: string[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'given-'));
  lines = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

function start(boot = 'first'): Allocations {
  const log = pino({}, { write: (line: string) => lines.push(line) });
  return new Allocations(join(dir, 'hostdev/allocations.json'), boot, log);
}

describe('Allocations', () => {
  test('remembers after a restart of the plugin, until the host restarts', () => {
    start().record('a.example/x', new Map([['/dev/tty', TTY]]));
    expect([...start().of('a.example/x')]).toEqual([['/dev/tty', TTY]]);
    expect(start().of('a.example/y').size).toBe(0);
    expect(start('second').of('a.example/x').size).toBe(0);
    expect(readdirSync(join(dir, 'hostdev'))).toEqual(['allocations.json']);
    expect(lines).toEqual([]);
  });

  test('keeps the last 10,000 ids of a resource', () => {
    const allocations = start();
    allocations.record('x', new Map(Array.from({ length: 10_001 }, (_, index) => [String(index), TTY])));
    expect([allocations.of('x').size, allocations.of('x').has('0')]).toEqual([10_000, false]);
  });

  test.each(['', '{', '[]', '{"boot":"first","resources":{"x":[["a",{"device":1}]]}}', '{"boot":"first"}'])(
    'takes a file with %s for an empty one, and says so',
    (content) => {
      start().record('x', new Map([['a', TTY]]));
      writeFileSync(join(dir, 'hostdev/allocations.json'), content);
      expect(start().of('x').size).toBe(0);
      expect(lines).toHaveLength(1);
    },
  );

  test('works without its file, and says so', () => {
    writeFileSync(join(dir, 'hostdev'), 'in the way');
    const allocations = start();
    allocations.record('x', new Map([['a', TTY]]));
    expect(allocations.of('x').get('a')).toEqual(TTY);
    expect(lines.join('')).toContain('a restart forgets them');
  });
});
