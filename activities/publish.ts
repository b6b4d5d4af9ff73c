import type { CoreV1Event } from '@kubernetes/client-node';
import type { DeviceMount } from '../contract/device-mount.ts';
import { mountOfObject, OBJECT_GROUP_VERSION, OBJECT_LABELS } from '../contract/device-mount-object.ts';
import { isMeant, type MountRequest, type Signed, type Target, type UnmountRequest } from '../contract/requests.ts';
import { verifiedRequest } from '../contract/signature.ts';
import { ClusterError } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import { eventName } from './event-name.ts';
import { verifiedTarget } from './verified-target.ts';

/** What has happened to a mount, as an Event tells it. */
export interface MountEvent {
  readonly type: 'Normal' | 'Warning';
  /** One word in upper camel case. */
  readonly reason: string;
  readonly message: string;
}

export interface PublishInput {
  /** The request of the mount: only the pod that it names is told. */
  readonly signed: Signed<MountRequest>;
  readonly mount: DeviceMount;
  readonly events: readonly MountEvent[];
  /** That shows the mount, if there is one. */
  readonly object?: { readonly uid: string };
}

const REPORTER = 'device-mounter';
/** Longest message of an Event that kube-apiserver takes. */
const MESSAGE_LENGTH = 1_024;
/** Of these what has happened may take so much; names of mounts have up to 253 characters. */
const WORDS_LENGTH = 600;

/**
 * Tells the target pod what has happened: Events on it, and the annotation with its devices brought up to date. The object of the mount
 * gets the Events, too.
 * @throws InvalidSignature
 */
export async function publish(deps: Dependencies, { signed, mount, events, object }: PublishInput): Promise<void> {
  const target = verifiedTarget(deps, signed, mount);
  const { name, namespace, uid, resourceVersion } = mount.metadata;
  const telling = events.flatMap((event) => {
    const words = `${event.message.slice(0, WORDS_LENGTH)} (mount ${name} of ${mount.status.user})`;
    const cause = [uid, resourceVersion, event.reason, event.message].join(' ');
    const toPod = tell(deps, aboutPod(target), { ...event, message: words, cause });
    if (object === undefined) return [toPod];
    return [toPod, tell(deps, aboutObject({ namespace, name, ...object }), { ...event, cause })];
  });
  // All are tried, so that what fails is all that is left for the next attempt.
  const told = await Promise.allSettled([deps.annotations.show(mount), ...telling]);
  for (const each of told) if (each.status === 'rejected') throw each.reason;
}

export interface FailedUnmount {
  readonly signed: Signed<UnmountRequest>;
  readonly message: string;
}

/**
 * Tells the target pod, and the mounts that were meant, why an unmount has failed: its caller may have been answered long ago that it goes on.
 * @throws InvalidSignature
 */
export async function publishFailedUnmount(deps: Dependencies, { signed, message }: FailedUnmount): Promise<void> {
  const { target, user } = verifiedRequest(signed, deps, 'goOn');
  const words = `${message.slice(0, WORDS_LENGTH)} (asked for by ${user.name})`;
  const cause = signed.request.id;
  const event = { type: 'Warning', reason: 'UnMountDeviceFailed', message: words, cause } as const;
  await tell(deps, aboutPod(target), event);
  await Promise.all((await meantObjects(deps, signed.request)).map((object) => tell(deps, aboutObject(object), event)));
}

/** Whom an Event is about. */
interface Involved {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

function aboutPod({ namespace, pod: name, podUid: uid }: Target): Involved {
  return { apiVersion: 'v1', kind: 'Pod', namespace, name, uid };
}

function aboutObject(object: { readonly namespace: string; readonly name: string; readonly uid: string }): Involved {
  return { apiVersion: OBJECT_GROUP_VERSION, kind: 'DeviceMount', ...object };
}

/** Of the mounts that a request to unmount means. */
async function meantObjects({ cluster }: Dependencies, request: UnmountRequest) {
  try {
    const { namespace, podUid } = request.target;
    const { items } = await cluster.listMounts(`${OBJECT_LABELS.targetUid}=${podUid}`, namespace);
    const meant = items.filter((object) => isMeant(mountOfObject(object), request));
    return meant.map(({ metadata: { name, uid = '' } }) => ({ namespace, name, uid }));
  } catch (err) {
    // Without the CustomResourceDefinition there are none.
    if (err instanceof ClusterError && err.isClear) return [];
    throw err;
  }
}

type Told = MountEvent & {
  /** Something that has the same cause is told once only. */
  readonly cause: string;
};

async function tell(deps: Dependencies, involved: Involved, event: Told): Promise<void> {
  try {
    await deps.cluster.createEvent(involved.namespace, eventOf(deps, involved, event));
  } catch (err) {
    if (!(err instanceof ClusterError)) throw err;
    const isTold = err.reason === 'AlreadyExists';
    // A namespace that is being deleted takes nothing new, and is read by nobody any more.
    const isUnread = err.code === 404 || err.causes.includes('NamespaceTerminating');
    if (!isTold && !isUnread) throw err;
  }
}

function eventOf({ now }: Dependencies, involvedObject: Involved, event: Told): CoreV1Event {
  const at = now();
  const { name, namespace, uid } = involvedObject;
  return {
    metadata: { name: eventName(name, `${uid} ${event.cause}`), namespace },
    involvedObject,
    type: event.type,
    reason: event.reason,
    message: event.message.slice(0, MESSAGE_LENGTH),
    source: { component: REPORTER },
    reportingComponent: REPORTER,
    reportingInstance: REPORTER,
    firstTimestamp: at,
    lastTimestamp: at,
    count: 1,
  };
}
