import type { EventSubject } from '../../process/events.ts';
import type { DeviceUser } from '../kernel/engine.ts';
import { keyOf, type MountRecord } from '../state/mount-record.ts';
import type { NodeDependencies } from './dependencies.ts';
import { type Users, usersText } from './users.ts';

type Deps = Pick<NodeDependencies, 'events' | 'log' | 'node'>;

/** Of the processes in a message: kube-apiserver takes 1,024 characters, and names of mounts have up to 253. */
const USERS_LENGTH = 500;

/**
 * Tells the pod which of its processes were ended, and why. Does not wait for kube-apiserver.
 * @param why who ended the reservation, and how: `slave pod x: it is being deleted`
 */
export function reportEnded(deps: Deps, record: MountRecord, { ended, left }: Users, why: string): void {
  const gone = ended.filter((user) => !left.some((one) => one.pid === user.pid && one.startTime === user.startTime));
  if (gone.length === 0) return;
  const message = `Ended processes that still used devices: ${textOf(gone)}. Reason: ${why} ${ofMount(record)}`;
  warn(deps, record, podOf(record), 'EndDeviceUsers', message);
}

/** Tells the pod and the node of processes that were killed and do not end: others may be given their device meanwhile. */
export function reportLeft(deps: Deps, record: MountRecord, left: readonly DeviceUser[], why: string): void {
  const message = `Killed, but the kernel has not ended them yet: ${textOf(left)}. The device may go to another pod. Reason: ${why} ${ofMount(record)}`;
  const pod = podOf(record);
  warn(deps, record, pod, 'DeviceStillUsed', message);
  const ofPod = `Pod ${pod.namespace}/${pod.name}: ${message}`;
  warn(deps, record, { kind: 'Node', name: deps.node }, 'DeviceStillUsed', ofPod);
}

function textOf(users: readonly DeviceUser[]): string {
  return usersText(users).slice(0, USERS_LENGTH);
}

function ofMount({ mount, signed }: MountRecord): string {
  return `(mount ${mount.name} of ${signed.request.user.name})`;
}

function podOf({ signed }: MountRecord) {
  const { namespace, pod: name, podUid: uid } = signed.request.target;
  return { kind: 'Pod', namespace, name, uid } as const;
}

function warn(
  { events, log }: Deps,
  { mount }: MountRecord,
  about: EventSubject,
  reason: string,
  message: string,
): void {
  log.warn({ mount: keyOf(mount), reason }, message);
  events.warn(about, reason, message).catch((err: unknown) => log.warn({ err, about }, 'cannot send an Event'));
}
