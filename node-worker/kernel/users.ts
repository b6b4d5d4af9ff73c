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
 * in /proc show are the tenant's. A process that is another one at every moment does not escape: if the look never ends with
 * the processes it began with, it is done while none of them runs. Not seen: a descriptor given to a process outside the
 * container, or on its way between two inside.
 */
export function usersOf(container: OpenContainer, devices: readonly DeviceId[]): readonly DeviceUser[] {
  const wanted = new Set(devices.map(deviceKey));
  const members = (): readonly number[] => membersOf(container.cgroup.path);
  const seen = new Set<number>();
  const users: DeviceUser[] = [];
  for (let look = 0; look < MAX_LOOKS; look++) {
    const fresh = members().filter((pid) => !seen.has(pid));
    if (fresh.length === 0) return users;
    for (const pid of fresh) seen.add(pid);
    users.push(...fresh.flatMap((pid) => usesOf(pid, container, wanted)));
  }
  return whileFrozenNow(container, () => members().flatMap((pid) => usesOf(pid, container, wanted)));
}

function usesOf(pid: number, container: OpenContainer, wanted: ReadonlySet<string>): readonly DeviceUser[] {
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
    const open = devicesOpenBy(pid, wanted);
    const mapped = devicesMappedBy(pid, wanted).filter((device) => !open.includes(device));
    return [...open.map(user('fd')), ...mapped.map(user('map'))];
  });
}

/** Keys of the wanted devices among the descriptors of every thread; threads may have tables of their own. */
function devicesOpenBy(pid: number, wanted: ReadonlySet<string>): readonly string[] {
  const threads = ifThere(() => readdirSync(`/proc/${pid}/task`));
  const found = threads.flatMap((thread) => {
    const directory = `/proc/${pid}/task/${thread}/fd`;
    return ifThere(() => readdirSync(directory)).flatMap((fd) => wantedAt(`${directory}/${fd}`, wanted));
  });
  return [...new Set(found)];
}

/** A mapping outlives its descriptor: map_files names what is mapped, maps says which lines are files. */
function devicesMappedBy(pid: number, wanted: ReadonlySet<string>): readonly string[] {
  const lines = ifThere(() => readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n'));
  const found = lines.flatMap((line) => {
    const [, range] = /^(\S+) \S+ \S+ \S+ +\d+ +\//.exec(line) ?? [];
    return range === undefined ? [] : wantedAt(`/proc/${pid}/map_files/${normalRange(range)}`, wanted);
  });
  return [...new Set(found)];
}

/** maps pads addresses with zeros, map_files does not. */
const normalRange = (range: string): string =>
  range
    .split('-')
    .map((address) => address.replace(/^0+(?=.)/, ''))
    .join('-');

function wantedAt(link: string, wanted: ReadonlySet<string>): readonly string[] {
  return ifThere(() => {
    const { device } = statLinkNow(link);
    const key = device === undefined ? '' : deviceKey(device);
    return wanted.has(key) ? [key] : [];
  });
}

/** Processes end while they are looked at. */
function ifThere<T>(look: () => readonly T[]): readonly T[] {
  try {
    return look();
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ESRCH', 'EACCES')) return [];
    throw err;
  }
}
