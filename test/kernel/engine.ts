import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import { HelperPool } from '../../node-worker/kernel/helper-pool.ts';

/** For `killUsers`: no process of these tests is stuck, the machine only is busy. */
export const KILL_LIMIT_MS = 100_000;

/** Each look into a container that `engine` gave up, with the reason: no test wants one. */
export const givenUp: string[] = [];

/**
 * One engine for all tests, because each engine keeps helper processes. It waits for minutes before it gives up a container, so that none
 * is given up only because the machine is busy.
 */
export const engine = createEngine({
  helpers: new HelperPool((containerId, why) => givenUp.push(`${containerId}: ${why}`), {
    deadlineMs: 150_000,
    killMs: 60_000,
  }),
});
