import { readdirSync, readFileSync } from 'node:fs';
import { deviceKey } from '../cgroup/rule.ts';
import type { OpenContainer } from './container.ts';
import type { DeviceId, DeviceUser } from './engine.ts';
import { membersOf } from './find-container.ts';
import { whileFrozenNow } from './freeze.ts';
import { processStat } from './process.ts';
import { statLinkNow } from './stat-now.ts';
import { hasCode } from './syscall.ts';

/** How often processes that have begun meanwhile are looked at, too, before the container is frozen for the look. */
const MAX_LOOKS = 4;

/**
 * Processes of the container that hold a device open or mapped. Compared by device number, because the names that links
 * in /proc show are the tenant's. Neither a process that is another one at every moment escapes nor one that moves its
 * descriptor all the time: what has run meanwhile is looked at again, at last while none of them runs. Not seen: a
 * descriptor given to a process outside the container, or on its way between two inside.
 */
export function usersOf(container: OpenContainer, devices: readonly DeviceId[]): readonly DeviceUser[] {
  const look: Look = { wanted: new Set(devices.map(deviceKey)), missed: false };
  const members = (): readonly number[] => membersOf(container.cgroup.path);
  const seen = new Set<number>();
  const users: DeviceUser[] = [];
  for (let attempt = 0; attempt < MAX_LOOKS; attempt++) {
    const fresh = members().filter((pid) => !seen.has(pid));
    if (fresh.length === 0) return users;
    for (const pid of fresh) {
      look.missed = false;
      const before = activityOf(pid);
      const uses = usesOf(pid, container, look);
      users.push(...uses);
      const stoodStill = !look.missed && before !== undefined && before === activityOf(pid);
      // One that was found need not be looked at again.
      if (uses.length > 0 || stoodStill) seen.add(pid);
    }
  }
  return whileFrozenNow(container, () => members().flatMap((pid) => usesOf(pid, container, look)));
}

interface Look {
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
  const threads = ifThere(() => readdirSync(`/proc/${pid}/task`));
  const switches = threads.map((thread) => switchesOf(`/proc/${pid}/task/${thread}/status`));
  return switches.includes(undefined) ? undefined : `${threads.join()} ${switches.join()}`;
}

function switchesOf(status: string): string | undefined {
  const text = ifThere(() => [readFileSync(status, 'latin1')]).join('');
  if (/^State:\tR/m.test(text)) return undefined;
  return [...text.matchAll(/^(?:non)?voluntary_ctxt_switches:\t(\d+)$/gm)].map(([, count]) => count).join('+');
}

function usesOf(pid: number, container: OpenContainer, look: Look): readonly DeviceUser[] {
  return ifThere(() => {
    // Before the scan: a later process of this pid has another start time and is not taken for this one.
    const { startTime, command } = processStat(pid);
    const user = (via: 'fd' | 'map') => (device: string) => ({
      pid,
      startTime,
      command,
      containerInit: pid === container.pid,
      via,
      device,
    });
    const open = devicesOpenBy(pid, look);
    const mapped = devicesMappedBy(pid, look).filter((device) => !open.includes(device));
    return [...open.map(user('fd')), ...mapped.map(user('map'))];
  });
}

/** Keys of the wanted devices among the descriptors of every thread; threads may have tables of their own. */
function devicesOpenBy(pid: number, look: Look): readonly string[] {
  const threads = ifThere(() => readdirSync(`/proc/${pid}/task`));
  const found = threads.flatMap((thread) => {
    const directory = `/proc/${pid}/task/${thread}/fd`;
    return ifThere(() => readdirSync(directory)).flatMap((fd) => wantedAt(`${directory}/${fd}`, look));
  });
  return [...new Set(found)];
}

/** A mapping outlives its descriptor: map_files names what is mapped, maps says which lines are files. */
function devicesMappedBy(pid: number, look: Look): readonly string[] {
  const lines = ifThere(() => readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n'));
  const found = lines.flatMap((line) => {
    const [, range] = /^(\S+) \S+ \S+ \S+ +\d+ +\//.exec(line) ?? [];
    return range === undefined ? [] : wantedAt(`/proc/${pid}/map_files/${normalRange(range)}`, look);
  });
  return [...new Set(found)];
}

/** maps pads addresses with zeros, map_files does not. */
const normalRange = (range: string): string =>
  range
    .split('-')
    .map((address) => address.replace(/^0+(?=.)/, ''))
    .join('-');

function wantedAt(link: string, look: Look): readonly string[] {
  try {
    const { device } = statLinkNow(link);
    const key = device === undefined ? '' : deviceKey(device);
    return look.wanted.has(key) ? [key] : [];
  } catch (err) {
    if (!isGone(err)) throw err;
    look.missed = true;
    return [];
  }
}

/** Processes end while they are looked at. */
function ifThere<T>(look: () => readonly T[]): readonly T[] {
  try {
    return look();
  } catch (err) {
    if (isGone(err)) return [];
    throw err;
  }
}

const isGone = (err: unknown): boolean => hasCode(err, 'ENOENT', 'ESRCH', 'EACCES');
