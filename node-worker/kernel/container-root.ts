import { closeSync, constants, openSync, readlinkSync } from 'node:fs';
import { O_PATH } from './flags.ts';
import { checkRoot, guardOf, type MountGuard } from './mount-guard.ts';
import { pidfdHasEnded, pidfdOpen, processStat } from './process.ts';
import { isOfContainer } from './process-of-container.ts';
import { Refusal } from './refusal.ts';
import { hasCode } from './syscall.ts';

/** Which container's files are meant: those of its init process. Plain JSON. */
export interface ContainerPlace {
  readonly containerId: string;
  readonly pid: number;
  /** Tells processes of one pid apart; where it is not given, the cgroup must name the container. */
  readonly startTime?: string;
}

/** The files of a container, for as long as one step works with them. */
export interface ContainerRoot extends ContainerPlace {
  /** O_PATH descriptor of its root directory. */
  readonly rootFd: number;
  /** Asked of whatever is opened below it. */
  readonly guard: MountGuard;
  /** It has a user namespace of its own. */
  readonly inUserNamespace: boolean;
  /** False once init has ended. */
  isAlive(): boolean;
}

/** Runs `use` with the container's files. Throws `Refusal` ContainerNotReady once it has ended, and ContainerUnsupported. */
export function withRoot<T>(place: ContainerPlace, use: (root: ContainerRoot) => T): T {
  const opened: number[] = [];
  try {
    return use(openRoot(place, opened));
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function openRoot({ containerId, pid, startTime }: ContainerPlace, opened: number[]): ContainerRoot {
  try {
    const pidfd = pidfdOpen(pid);
    opened.push(pidfd);
    const isMeant =
      startTime === undefined ? isOfContainer(pid, containerId) : processStat(pid).startTime === startTime;
    if (!isMeant) throw ended(containerId, pid);
    const rootFd = openSync(`/proc/${pid}/root`, O_PATH | constants.O_DIRECTORY);
    opened.push(rootFd);
    checkRoot(pid, rootFd);
    const inUserNamespace = readlinkSync(`/proc/${pid}/ns/user`) !== readlinkSync('/proc/self/ns/user');
    // Still the process of the pidfd: so all that was read in between was about it, and not about a later one of its pid.
    if (pidfdHasEnded(pidfd)) throw ended(containerId, pid);
    const guard = guardOf(pid, rootFd);
    return { containerId, pid, rootFd, guard, inUserNamespace, isAlive: () => !pidfdHasEnded(pidfd) };
  } catch (err) {
    if (hasCode(err, 'EWOULDBLOCK')) throw unanswering(containerId, err);
    if (!hasCode(err, 'ESRCH', 'ENOENT')) throw err;
    throw ended(containerId, pid, err);
  }
}

function ended(containerId: string, pid: number, cause?: unknown): Refusal {
  const message = `Cannot use container "${containerId}": its init process ${pid} has ended`;
  return new Refusal('ContainerNotReady', message, cause);
}

function unanswering(containerId: string, cause: unknown): Refusal {
  const message = `Cannot use container "${containerId}": its root directory is on a file system that may never answer`;
  return new Refusal('ContainerUnsupported', message, cause);
}
