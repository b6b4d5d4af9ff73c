import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { failureOf } from '../../contract/failures.ts';
import { AT_FDCWD } from './flags.ts';
import { Helper } from './helper.ts';
import { type HelperLimits, HelperPool, timeLeftOf } from './helper-pool.ts';
import type { UserLook } from './look-for-users.ts';
import { syscall } from './syscall.ts';

/** include/uapi/linux/stat.h */
const S_IFIFO = 0o010000;
const NEVER_MS = 600_000;
const LIMITS: HelperLimits = {
  ready: 1,
  most: 3,
  slowMs: 5,
  waitMs: 5,
  deadlineMs: NEVER_MS,
  killMs: NEVER_MS,
  spareMs: NEVER_MS,
};

let folder: string;
let pool: HelperPool;
let killed: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'helpers-'));
  killed = [];
});
afterEach(async () => {
  // Again for one that has started meanwhile in the place of another.
  await until(() => {
    for (const pid of pool.pids) process.kill(pid, 'SIGKILL');
    return pool.pids.length === 0;
  });
  rmSync(folder, { recursive: true });
});

function use(limits: Partial<HelperLimits> = {}): void {
  pool = new HelperPool((containerId) => void killed.push(containerId), { ...LIMITS, ...limits });
}

/** A look into a "cgroup" of no process. */
function quick(containerId: string): Promise<string> {
  const cgroup = mkdtempSync(join(folder, containerId));
  writeFileSync(join(cgroup, 'cgroup.procs'), '');
  return pool.ask(containerId, lineOf(cgroup));
}

/** A look that waits in the kernel until `let go` is called. */
function slow(
  containerId: string,
  deadlineMs = NEVER_MS,
): { readonly answer: Promise<string>; readonly letGo: () => void } {
  const cgroup = mkdtempSync(join(folder, containerId));
  const file = join(cgroup, 'cgroup.procs');
  syscall('mknodat', [AT_FDCWD, file, S_IFIFO | 0o600, 0]);
  const answer = pool.ask(containerId, lineOf(cgroup), deadlineMs);
  // What is refused in the end is looked at by those who ask for it.
  answer.catch(() => undefined);
  return { answer, letGo: () => closeSync(openSync(file, 'w')) };
}

function lineOf(cgroup: string): string {
  const look: UserLook = { cgroup, init: 1, devices: [], frozen: true };
  return JSON.stringify([['lookForUsers', look]]);
}

const NOBODY = '[{"result":{"users":[],"restless":false}}]\n';

async function until(holds: () => boolean): Promise<void> {
  // What hangs must not go on beside the tests that follow.
  const untilMs = performance.now() + 900_000;
  while (!holds()) {
    if (performance.now() > untilMs) throw new Error(`Cannot wait any longer for ${holds.toString()}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}

async function typeOfRefusal(answer: Promise<string>): Promise<string | undefined> {
  return answer.then(
    () => 'none',
    (err: unknown) => failureOf(err)?.type,
  );
}

const isBlocked = (pid: number): boolean => readFileSync(`/proc/${pid}/wchan`, 'latin1') === 'wait_for_partner';

describe('HelperPool', () => {
  test('ask() answers for others while a container does not answer', async () => {
    use();
    const stuck = slow('a');
    expect(await quick('b')).toBe(NOBODY);
    expect(await quick('c')).toBe(NOBODY);
    stuck.letGo();
    expect(await stuck.answer).toBe(NOBODY);
    expect(killed).toEqual([]);
  });

  test('ask() refuses what is not done in time, and kills its helper', async () => {
    use();
    pool.start();
    const [pid = 0] = pool.pids;
    expect(await typeOfRefusal(slow('a', 100).answer)).toBe('ContainerStuck');
    expect(killed).toEqual(['a']);
    await until(() => !pool.pids.includes(pid));
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(await quick('a')).toBe(NOBODY);
  });

  test('has never more helpers than it may, and the slowest give way', async () => {
    // Long enough that nothing quick is taken for slow on a busy machine.
    use({ slowMs: 1_000 });
    const answers = ['a', 'b', 'c', 'd', 'e'].map((id) => slow(id).answer);
    let most = 0;
    const counting = setInterval(() => {
      most = Math.max(most, pool.pids.length);
    }, 1);
    for (const id of ['x', 'y', 'z']) expect(await quick(id)).toBe(NOBODY);
    clearInterval(counting);
    expect(most).toBeLessThanOrEqual(LIMITS.most);
    expect(killed.length).toBeGreaterThan(0);
    for (const pid of pool.pids) process.kill(pid, 'SIGKILL');
    expect(await typeOfRefusal(answers[0] ?? Promise.resolve(''))).toBe('ContainerStuck');
  });

  test('keeps a helper for those who were quick, and lets them go first', async () => {
    use({ ready: 2, most: 2, slowMs: NEVER_MS, waitMs: NEVER_MS });
    expect(await quick('known')).toBe(NOBODY);
    const before = slow('before');
    // So both have started.
    expect(await quick('known')).toBe(NOBODY);
    before.letGo();
    await before.answer;
    const [first, second] = [slow('first'), slow('second')];
    const third = quick('third');
    expect(await quick('known')).toBe(NOBODY);
    first.letGo();
    expect(await first.answer).toBe(NOBODY);
    second.letGo();
    expect(await second.answer).toBe(NOBODY);
    expect(await third).toBe(NOBODY);
  });

  test('does one step at a time for one container', async () => {
    use();
    const first = slow('a');
    const second = slow('a');
    expect(await quick('b')).toBe(NOBODY);
    await until(() => pool.pids.some(isBlocked));
    expect(pool.pids.filter(isBlocked)).toHaveLength(1);
    first.letGo();
    expect(await first.answer).toBe(NOBODY);
    second.letGo();
    expect(await second.answer).toBe(NOBODY);
  });

  test('gives slow steps a low priority until they are done, and their place to another helper', async () => {
    use();
    pool.start();
    const [pid = 0] = pool.pids;
    const stuck = slow('a');
    await until(() => getPriority(pid) === 10);
    // Another is there before anybody needs it.
    await until(() => pool.pids.length === 2);
    stuck.letGo();
    await stuck.answer;
    expect(getPriority(pid)).toBe(0);
  });

  test('goes on after a helper was ended by somebody else', async () => {
    use();
    const stuck = slow('a');
    await until(() => pool.pids.some(isBlocked));
    const { pids } = pool;
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    expect(await typeOfRefusal(stuck.answer)).toBe('ContainerStuck');
    await until(() => !pool.pids.some((pid) => pids.includes(pid)));
    expect(await quick('a')).toBe(NOBODY);
  });

  test('ends helpers that nobody needs any more', async () => {
    use({ spareMs: 1 });
    const stuck = slow('a');
    expect(await quick('b')).toBe(NOBODY);
    stuck.letGo();
    await stuck.answer;
    await until(() => pool.pids.length === LIMITS.ready);
  });
});

test.each([
  ['that ran all the time', 5_000, 0, 0],
  ['that waited for the container half of the time', 4_000, 0, 1_000],
  ['that stood in line for a processor half of the time', 8_000, 4_000, 1_000],
  ['that stood in line for longer than is waited', 20_000, 19_999, 0],
])('timeLeftOf() a step %s', (_name, tookMs, queuedMs, leftMs) => {
  expect(timeLeftOf(5_000, tookMs, queuedMs)).toBe(leftMs);
});

test('Helper.queuedMs tells how long others have kept it from a processor', async () => {
  const ready = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const helper = new Helper({ onReady: ready.resolve, onEnd: ended.resolve });
  await ready.promise;
  const before = helper.queuedMs;
  const busy = cpus().map(() => spawn(process.execPath, ['--eval', 'for (;;);'], { stdio: 'ignore' }));
  try {
    helper.slowDown();
    while (helper.queuedMs < before + 10) await helper.ask(lineOf(folder)).catch(() => undefined);
  } finally {
    for (const child of busy) child.kill('SIGKILL');
    helper.close();
    await ended.promise;
  }
});
