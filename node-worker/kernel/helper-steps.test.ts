import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { answersTo } from './helper-steps.ts';
import { processStat } from './process.ts';

const CHILD = new URL('./helper-child.ts', import.meta.url);

/** Everything that a module loads, by itself or through others; types are not loaded. */
function loadedBy(module: URL, seen = new Set<string>()): ReadonlySet<string> {
  const text = readFileSync(fileURLToPath(module), 'utf8');
  for (const [, types, name = ''] of text.matchAll(/^(?:import|export) (type )?[^;]*?from '([^']+)';/gm)) {
    if (types !== undefined || seen.has(name)) continue;
    const target = name.startsWith('.') ? new URL(name, module) : undefined;
    const key = target?.href ?? name;
    if (seen.has(key)) continue;
    seen.add(key);
    if (target !== undefined) loadedBy(target, seen);
  }
  return seen;
}

test('a helper process loads no library but koffi: each has one of its own', () => {
  const packages = [...loadedBy(CHILD)].filter((name) => !name.startsWith('file:') && !name.startsWith('node:'));
  expect(packages).toEqual(['koffi']);
});

test('answersTo() hands on refusals with their type, and other errors with their code', () => {
  const { pid } = process;
  const ended = { containerId: 'a', pid, startTime: '1' };
  const alive = { containerId: 'a', pid, startTime: processStat(pid).startTime };
  const device = { type: 'c', major: 1, minor: 3, access: 'rw', path: '/etc/x', mode: 0, uid: 0, gid: 0 };
  const nowhere = { cgroup: '/dev/null', init: 1, devices: [], frozen: true };
  const questions = [
    ['nodesBelowDev', ended],
    ['planNodes', alive, [device]],
    ['lookForUsers', nowhere],
    ['nonsense'],
    ['hasNodes', alive, []],
  ];
  expect(answersTo(JSON.stringify(questions))).toMatchObject([
    { refused: { type: 'ContainerNotReady', message: `Cannot use container "a": its init process ${pid} has ended` } },
    { refused: { type: 'Invalid' } },
    { failed: { code: 'ENOTDIR' } },
    { failed: {} },
    { result: true },
  ]);
});
