import type { DeviceMount, MountWarning } from './device-mount.ts';

/** `metav1.Condition`. */
export interface Condition {
  readonly type: 'Mounted' | 'Degraded' | MountWarning['type'];
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
  /** RFC 3339, whole seconds. */
  readonly lastTransitionTime: string;
}

type Status = DeviceMount['status'];
/** A condition without its history; `since` when something knows better than the last change of the mount. */
type Finding = Omit<Condition, 'observedGeneration' | 'lastTransitionTime'> & { readonly since?: string | undefined };

/** Longest message that kube-apiserver takes in a condition. */
const MESSAGE_LENGTH = 32_768;

const WORDS: Readonly<Record<Status['phase'], string>> = {
  Pending: 'The devices are not mounted yet.',
  Mounted: 'The container can use the devices.',
  Releasing: 'The devices are being taken back.',
  Released: 'The devices have been given back.',
  Failed: 'The mount has failed.',
};

/**
 * What a mount's `status.conditions` are. One whose status is as in `before` keeps its time of transition.
 * @param generation of the object that will show them, if there is one
 */
export function conditionsOf(
  { metadata, status }: DeviceMount,
  before: readonly Condition[],
  generation: number | undefined,
): readonly Condition[] {
  return [mountedOf(status), degradedOf(status), ...warningsOf(status)].map(({ since, message, ...finding }) => {
    const same = before.find(({ type, status }) => type === finding.type && status === finding.status);
    return {
      ...finding,
      message: message.slice(0, MESSAGE_LENGTH).toWellFormed(),
      lastTransitionTime: same?.lastTransitionTime ?? wholeSeconds(since ?? Number(metadata.resourceVersion)),
      ...(generation !== undefined && { observedGeneration: generation }),
    };
  });
}

/** True until the devices are known to be gone: a release may still be refused. */
function mountedOf({ phase, reason, message, mountedAt }: Status): Finding {
  const has = phase === 'Mounted' || phase === 'Releasing';
  return {
    type: 'Mounted',
    status: has ? 'True' : 'False',
    reason: has ? phase : (reason ?? phase),
    message: message ?? WORDS[phase],
    since: has ? mountedAt : undefined,
  };
}

function degradedOf({ phase, degraded }: Status): Finding {
  const has = phase === 'Mounted' || phase === 'Releasing';
  if (has && degraded !== undefined)
    return {
      type: 'Degraded',
      status: 'True',
      reason: 'DeviceDegraded',
      message: degraded.message,
      since: degraded.since,
    };
  return { type: 'Degraded', status: 'False', reason: has ? 'AsExpected' : 'NotMounted', message: '' };
}

/** Only what there is: a driver that has nothing to say has not looked. */
function warningsOf({ phase, warnings = [], mountedAt: since }: Status): readonly Finding[] {
  if (phase !== 'Mounted' && phase !== 'Releasing') return [];
  return warnings.map(({ type, message }) => ({ type, status: 'True', reason: 'NotInContainer', message, since }));
}

/** RFC 3339 without fractions, as `metav1.Time` is written. */
function wholeSeconds(time: string | number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}
