import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fail } from '../../contract/failures.ts';
import type { OpenContainer } from './container.ts';
import type { DeviceId, DeviceUser, KillOptions } from './engine.ts';
import { whileFrozen } from './freeze.ts';
import { pidfdHasEnded } from './process.ts';
import { signalUser } from './signal-user.ts';
import { usersOf } from './users.ts';

/** A process that was killed is gone once the kernel has taken it down; drivers may take seconds for a GPU context. */
const KILL_WAIT_MS = 10_000;
/** How often a process is asked whether it still lives. */
const POLL_MS = 5;
/** Processes that fork faster than they are found are frozen from this round on: then a scan finds all of them. */
const FREEZE_FROM_ROUND = 3;
const MAX_ROUNDS = 8;

/** See `KernelEngine.killUsers`. Returns every process that was signalled. */
export async function killUsers(
  container: OpenContainer,
  devices: readonly DeviceId[],
  { graceMs, allowInit = false }: KillOptions,
): Promise<readonly DeviceUser[]> {
  const killed = new Map<string, DeviceUser>();
  const signal = (name: 'SIGTERM' | 'SIGKILL'): readonly number[] => {
    const users = usersOf(container, devices);
    refuseInit(container, users, allowInit);
    for (const user of users) killed.set(`${user.pid} ${user.startTime}`, user);
    return distinct(users).flatMap((user) => signalUser(user, constants.signals[name]));
  };
  await closingAfter(signal('SIGTERM'), (pidfds) => waitUntilGone(pidfds, graceMs));
  let stands = false;
  for (let round = 1; ; round++) {
    const kill = (): readonly number[] => signal('SIGKILL');
    stands ||= round >= FREEZE_FROM_ROUND;
    const pidfds: readonly number[] = stands ? await whileFrozen(container, kill) : kill();
    if (pidfds.length === 0 && stands) return [...killed.values()];
    // Who is not found may have become another process, or moved its descriptor: the last look is at a container that stands.
    stands = pidfds.length === 0;
    await closingAfter(pidfds, (fds) => waitUntilGone(fds, KILL_WAIT_MS));
    if (round === MAX_ROUNDS) throw busy(container, usersOf(container, devices));
  }
}

function refuseInit(container: OpenContainer, users: readonly DeviceUser[], allowInit: boolean): void {
  const init = users.find((user) => user.containerInit);
  if (init !== undefined && !allowInit) throw busy(container, users);
}

/** The answer that names every process, so that its owner can end it in its own way. */
export function busy(container: OpenContainer, users: readonly DeviceUser[]): Error {
  const list = users.map(
    ({ pid, command, device, containerInit }) =>
      `${pid} (${command.replaceAll(/[^\x20-\x7e]/g, '?')}${containerInit ? ', the init of the container' : ''}) uses ${device}`,
  );
  return fail(
    'DeviceBusy',
    `Cannot take devices from container ${container.containerId.slice(0, 12)}: ${list.join('; ')}`,
    undefined,
    list.map((message) => ({ reason: 'DeviceBusy', message })),
  );
}

const distinct = (users: readonly DeviceUser[]): readonly DeviceUser[] => [
  ...new Map(users.map((user) => [user.pid, user])).values(),
];

async function closingAfter(
  pidfds: readonly number[],
  use: (pidfds: readonly number[]) => Promise<void>,
): Promise<void> {
  try {
    await use(pidfds);
  } finally {
    for (const fd of pidfds) closeSync(fd);
  }
}

async function waitUntilGone(pidfds: readonly number[], limitMs: number): Promise<void> {
  const end = performance.now() + limitMs;
  while (!pidfds.every(pidfdHasEnded) && performance.now() < end) await delay(POLL_MS);
}
