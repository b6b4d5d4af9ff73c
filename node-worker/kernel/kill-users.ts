import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { failureOf } from '../../contract/failures.ts';
import type { OpenContainer } from './container.ts';
import type { DeviceId, DeviceUser, KillOptions } from './engine.ts';
import { whileFrozen } from './freeze.ts';
import { pidfdHasEnded } from './process.ts';
import { signalUser } from './signal-user.ts';
import { suspectsIn, usersOf } from './users.ts';

/** A process that was killed is gone once the kernel has taken it down; drivers may take seconds for a GPU context. */
const LIMIT_MS = 10_000;
/** How often a process is asked whether it still lives. */
const POLL_MS = 5;
/** At least as many polls, whatever the time: a node worker that stood still may find it over at its first look. */
const MIN_POLLS = 20;
/** Processes that fork faster than they are found are frozen from this round on: then a scan finds all of them. */
const FREEZE_FROM_ROUND = 3;
const MAX_ROUNDS = 8;

/** See `KernelEngine.killUsers`. */
export async function killUsers(
  container: OpenContainer,
  devices: readonly DeviceId[],
  { graceMs, limitMs = LIMIT_MS }: KillOptions,
): Promise<readonly DeviceUser[]> {
  const end = performance.now() + limitMs;
  const signalled = new Map<string, DeviceUser>();
  const signal = async (name: 'SIGTERM' | 'SIGKILL'): Promise<readonly number[]> => {
    const users = await (name === 'SIGTERM' ? usersIfTold(container, devices) : suspectsIn(container, devices));
    for (const user of users) signalled.set(`${user.pid} ${user.startTime} ${user.device}`, user);
    return distinct(users).flatMap((user) => signalUser(container.containerId, user.pid, constants.signals[name]));
  };
  if (graceMs > 0) {
    const graceEnd = Math.min(end, performance.now() + graceMs);
    await closingAfter(await signal('SIGTERM'), (pidfds) => waitUntilGone(pidfds, graceEnd));
  }
  let stands = false;
  for (let round = 1; ; round++) {
    const kill = (): Promise<readonly number[]> => signal('SIGKILL');
    stands ||= round >= FREEZE_FROM_ROUND;
    const pidfds: readonly number[] = stands ? await whileFrozen(container, kill) : await kill();
    const areGone = await closingAfter(pidfds, (fds) => waitUntilGone(fds, end));
    const isLast = pidfds.length === 0 || performance.now() >= end;
    if (round === MAX_ROUNDS || !areGone || (stands && isLast)) return [...signalled.values()];
    // A process that was not found may have forked, or moved its descriptor: the last look is at a frozen container, even when the
    // time is over. Where one does not end, more looks prove nothing.
    stands = isLast;
  }
}

/** None where the container cannot be looked into: it may only be slow just now, and is asked once more before KILL. */
async function usersIfTold(container: OpenContainer, devices: readonly DeviceId[]): Promise<readonly DeviceUser[]> {
  try {
    return await usersOf(container, devices);
  } catch (err) {
    if (failureOf(err)?.type !== 'ContainerStuck') throw err;
    return [];
  }
}

const distinct = (users: readonly DeviceUser[]): readonly DeviceUser[] => [
  ...new Map(users.map((user) => [user.pid, user])).values(),
];

async function closingAfter<T>(pidfds: readonly number[], use: (pidfds: readonly number[]) => Promise<T>): Promise<T> {
  try {
    return await use(pidfds);
  } finally {
    for (const fd of pidfds) closeSync(fd);
  }
}

/** Whether all of them are gone in time. */
async function waitUntilGone(pidfds: readonly number[], end: number): Promise<boolean> {
  for (let polls = 0; !pidfds.every(pidfdHasEnded); polls++) {
    if (polls >= MIN_POLLS && performance.now() >= end) return false;
    await delay(POLL_MS);
  }
  return true;
}
