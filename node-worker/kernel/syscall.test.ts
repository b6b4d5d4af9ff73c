import { spawnSync } from 'node:child_process';
import { expect, test } from '@jest/globals';

/** Collects garbage in the middle of a call whose code the compiler has optimised; libc overwrites what is freed. */
const PROGRAM = `
  let collect = false;
  const { arch } = process;
  Object.defineProperty(process, 'arch', { get: () => { if (collect) gc(); return arch; } });
  const { closeSync } = process.getBuiltinModule('fs');
  const { syscall } = await import(${JSON.stringify(new URL('./syscall.ts', import.meta.url).href)});
  const AT_FDCWD = -100;
  const failureOf = (path) => {
    try {
      closeSync(syscall('openat', [AT_FDCWD, path, 0, 0]));
      return 'none';
    } catch (err) {
      return err.code;
    }
  };
  const directory = '/'.repeat(200) + 'proc/self';
  for (let n = 0; n < 100_000; n++) failureOf(directory);
  collect = true;
  const seen = [];
  for (let n = 0; n < 20; n++) for (const below of ['', '/none', '/stat/x']) seen.push(failureOf(directory + below));
  console.log(seen.join());
`;

test('syscall() keeps what it passes alive, and tells the right errno, while garbage is collected', () => {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--no-warnings', '--expose-gc', '--single-threaded', '--input-type=module', '--eval', PROGRAM],
    { encoding: 'utf8', env: { ...process.env, MALLOC_PERTURB_: '165' } },
  );
  expect(stderr).toBe('');
  expect(stdout.trim().split(',')).toEqual(Array.from({ length: 20 }, () => ['none', 'ENOENT', 'ENOTDIR']).flat());
});
