import { opendirSync, readdirSync, readFileSync } from 'node:fs';
import { deviceKey } from '../cgroup/rule.ts';
import { membersOf } from './cgroup-tree.ts';
import type { DeviceId, DeviceUser } from './engine.ts';
import { linesOf } from './lines.ts';
import { processStat } from './process.ts';
import { statLinkNow } from './stat-now.ts';
import { hasCode } from './syscall.ts';
import { threadsWithTables } from './thread-tables.ts';

/** How often processes that have begun meanwhile are looked at, too, before the container is frozen for the look. */
const MAX_LOOKS = 4;
/** Nor longer than this: a fork bomb leaves little of the processors to who looks, and takes none of them once it is frozen. */
const MAX_RESTLESS_MS = 1_000;
/** Enough to say that it is used, and to end a fork bomb in a few rounds. */
const MAX_USERS = 4096;

/** What to look for, and where. Plain JSON. */
export interface UserLook {
  /** Absolute path of the container's own cgroup. */
  readonly cgroup: string;
  /** The container's init process. */
  readonly init: number;
  readonly devices: readonly DeviceId[];
  /** Whether nothing of it runs: then one look sees all. */
  readonly frozen: boolean;
}

export interface UsersSeen {
  readonly users: readonly DeviceUser[];
  /** Some ran all the time, and may hold what was not seen: look again while none runs. */
  readonly restless: boolean;
}

/** See `usersOf`. How long it takes, the container decides: for a helper process. */
export function lookForUsers({ cgroup, init, devices, frozen }: UserLook): UsersSeen {
  const look: Look = { init, wanted: new Set(devices.map(deviceKey)), missed: false };
  const seen = new Set<number>();
  const users: DeviceUser[] = [];
  const end = performance.now() + MAX_RESTLESS_MS;
  for (let attempt = 0; attempt < MAX_LOOKS; attempt++) {
    const fresh = membersOf(cgroup).filter((pid) => !seen.has(pid));
    if (fresh.length === 0) return { users, restless: false };
    for (const pid of fresh) {
      if (users.length >= MAX_USERS) return { users, restless: false };
      if (!frozen && performance.now() > end) return { users, restless: true };
      look.missed = false;
      const before = frozen ? undefined : activityOf(pid);
      const uses = usesOf(pid, look);
      users.push(...uses);
      const stoodStill = frozen || (!look.missed && before !== undefined && before === activityOf(pid));
      // One that was found need not be looked at again.
      if (uses.length > 0 || stoodStill) seen.add(pid);
    }
  }
  return { users, restless: true };
}

interface Look {
  readonly init: number;
  readonly wanted: ReadonlySet<string>;
  /** Something that was there when it began was gone when its turn came. */
  missed: boolean;
}

/**
 * How often each thread has given up its processor, by proc_pid_status(5); `undefined` when one has it or waits for it. Two equal
 * answers prove that none has run in between. Equal lists of descriptors would not: a list is read one number after the
 * other, and a descriptor that moves in a circle can be missed by each.
 */
function activityOf(pid: number): string | undefined {
  const switches: string[] = [];
  for (const thread of threadsOf(pid)) {
    const count = switchesOf(`/proc/${pid}/task/${thread}/status`);
    if (count === undefined) return undefined;
    switches.push(`${thread} ${count}`);
  }
  return switches.join();
}

function switchesOf(status: string): string | undefined {
  const text = ifThere('', () => readFileSync(status, 'latin1'));
  if (/^State:\tR/m.test(text)) return undefined;
  return [...text.matchAll(/^(?:non)?voluntary_ctxt_switches:\t(\d+)$/gm)].map(([, count]) => count).join('+');
}

function usesOf(pid: number, look: Look): readonly DeviceUser[] {
  return ifThere([], () => {
    // Before the scan: a later process of this pid has another start time and is not taken for this one.
    const before = processStat(pid);
    const open = devicesOpenBy(pid, look);
    const mapped = devicesMappedBy(pid, look).filter((device) => !open.includes(device));
    if (open.length + mapped.length === 0) return [];
    // After it: the program that holds the device may have been started in the middle of it.
    const after = ifThere(before, () => processStat(pid));
    const user = (via: 'fd' | 'map') => (device: string) => ({
      pid,
      startTime: before.startTime,
      command: (after.startTime === before.startTime ? after : before).command,
      containerInit: pid === look.init,
      via,
      device,
    });
    return [...open.map(user('fd')), ...mapped.map(user('map'))];
  });
}

const threadsOf = (pid: number): readonly string[] => ifThere([], () => readdirSync(`/proc/${pid}/task`));

/** Keys of the wanted devices among the descriptors of the process, and of threads that have a table of their own. */
function devicesOpenBy(pid: number, look: Look): readonly string[] {
  const found = new Set<string>();
  for (const thread of threadsWithTables(threadsOf(pid))) {
    const directory = `/proc/${pid}/task/${thread}/fd`;
    for (const fd of namesIn(directory)) {
      const device = wantedAt(`${directory}/${fd}`, look);
      if (device !== undefined) found.add(device);
    }
  }
  return [...found];
}

/** A mapping outlives its descriptor: map_files names what is mapped, maps says which lines are files. */
function devicesMappedBy(pid: number, look: Look): readonly string[] {
  const found = new Set<string>();
  ifThere(undefined, () => {
    for (const line of linesOf(`/proc/${pid}/maps`)) {
      const range = /^(\S+) \S+ \S+ \S+ +\d+ +\//.exec(line)?.[1];
      const device = range && wantedAt(`/proc/${pid}/map_files/${normalRange(range)}`, look);
      if (device !== undefined) found.add(device);
    }
  });
  return [...found];
}

/** maps pads addresses with zeros, map_files does not. */
const normalRange = (range: string): string =>
  range
    .split('-')
    .map((address) => address.replace(/^0+(?=.)/, ''))
    .join('-');

function wantedAt(link: string, look: Look): string | undefined {
  try {
    const { device } = statLinkNow(link);
    const key = device === undefined ? '' : deviceKey(device);
    return look.wanted.has(key) ? key : undefined;
  } catch (err) {
    if (!isGone(err)) throw err;
    look.missed = true;
    return undefined;
  }
}

/** One after the other: there may be a million. Ends where the directory does, also when that goes away meanwhile. */
function* namesIn(path: string): Generator<string, void, void> {
  const directory = ifThere(undefined, () => opendirSync(path, { bufferSize: 512 }));
  try {
    for (;;) {
      const entry = ifThere(undefined, () => directory?.readSync());
      if (!entry) return;
      yield entry.name;
    }
  } finally {
    directory?.closeSync();
  }
}

/** Processes end while they are looked at. */
function ifThere<T, O>(otherwise: O, look: () => T): T | O {
  try {
    return look();
  } catch (err) {
    if (isGone(err)) return otherwise;
    throw err;
  }
}

const isGone = (err: unknown): boolean => hasCode(err, 'ENOENT', 'ESRCH', 'EACCES');
