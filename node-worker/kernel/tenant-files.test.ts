import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { HelperPool } from './helper-pool.ts';
import { processStat } from './process.ts';
import { TenantFiles } from './tenant-files.ts';

/** A device that every machine has, in this process's own root directory. */
const NULL = { type: 'c', major: 1, minor: 3, path: '/dev/null', access: 'rw', mode: 0o666, uid: 0, gid: 0 } as const;
const ELSEWHERE = { ...NULL, minor: 4 };
/** Longer than this machine ever stands still. */
const NEVER_MS = 600_000;

let asked: string[];
let pool: HelperPool;
let files: TenantFiles;
beforeEach(() => {
  asked = [];
  // Helpers start as slowly as the machine is busy.
  pool = new HelperPool(undefined, { deadlineMs: NEVER_MS });
  const ask = pool.ask.bind(pool);
  pool.ask = (containerId, line, deadlineMs) => {
    asked.push(containerId);
    return ask(containerId, line, deadlineMs);
  };
  files = new TenantFiles(pool, NEVER_MS);
});
afterEach(() => {
  for (const pid of pool.pids) process.kill(pid, 'SIGKILL');
});

const place = (containerId: string) => ({
  containerId,
  pid: process.pid,
  startTime: processStat(process.pid).startTime,
});

test('hasNodes() of many containers is asked of one helper, and answered for each', async () => {
  const answers = [
    files.hasNodes(place('a'), [NULL]),
    files.hasNodes(place('b'), [NULL, ELSEWHERE]),
    files.hasNodes({ ...place('c'), startTime: '1' }, [NULL]),
  ];
  const outcomes = await Promise.allSettled(answers);
  expect(outcomes).toMatchObject([{ value: true }, { value: false }, { reason: { type: 'ContainerNotReady' } }]);
  expect(asked).toEqual(['many at once']);
});

test('hasNodes() is asked of each apart when one of them keeps the others waiting', async () => {
  pool.ask = (containerId, line, deadlineMs) => {
    asked.push(containerId);
    return containerId === 'many at once'
      ? Promise.reject(new Error('too slow'))
      : HelperPool.prototype.ask.call(pool, containerId, line, deadlineMs);
  };
  const answers = [files.hasNodes(place('a'), [NULL]), files.hasNodes(place('b'), [ELSEWHERE])];
  expect(await Promise.all(answers)).toEqual([true, false]);
  expect(asked).toEqual(['many at once', 'a', 'b']);
});
