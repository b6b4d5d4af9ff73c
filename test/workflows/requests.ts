import { generateKeyPairSync, randomUUID } from 'node:crypto';
import type { SlaveSettings } from '../../activities/slave-settings.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { mountOfRequest } from '../../contract/mount-of-request.ts';
import type { MountRequest, Signed, UnmountRequest } from '../../contract/requests.ts';
import { signRequest } from '../../contract/signature.ts';

/** What the cluster of most tests is called. */
export const CLUSTER = 'test';
export const NAMESPACE = 'apps';
export const FUSE = 'hostdev.k8s.io/dev_fuse';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');

/** The apiserver's. */
export const PUBLIC_KEY = publicKey;

/** Longer than anything takes on a busy machine: only a test of the deadline itself has a shorter one. */
export const DEADLINE_SECONDS = 300;

/** A request for one `/dev/fuse` in the pod named as its node. */
export function mountRequest(pod: string, more: Partial<MountRequest> = {}): MountRequest {
  return {
    kind: 'mount',
    cluster: CLUSTER,
    name: `${pod}-m`,
    target: targetOf(pod),
    deviceType: 'HOSTDEV',
    resources: { [FUSE]: '1' },
    labels: {},
    annotations: {},
    patches: [],
    queue: false,
    onRestart: 'reapply',
    user: { name: 'jane' },
    requestedAt: new Date().toISOString(),
    deadlineSeconds: DEADLINE_SECONDS,
    ...more,
  };
}

export function unmountRequest(pod: string, more: Partial<UnmountRequest> = {}): UnmountRequest {
  return {
    kind: 'unmount',
    cluster: CLUSTER,
    id: randomUUID(),
    target: targetOf(pod),
    deviceType: 'HOSTDEV',
    force: false,
    user: { name: 'jane' },
    requestedAt: new Date().toISOString(),
    deadlineSeconds: DEADLINE_SECONDS,
    ...more,
  };
}

function targetOf(pod: string) {
  return { namespace: NAMESPACE, pod, podUid: `uid-${pod}`, container: 'main' };
}

/** By the apiserver, or with another key of it. */
export function signed<R extends MountRequest | UnmountRequest>(request: R, key = privateKey): Signed<R> {
  return signRequest(request, key);
}

/** When a request was made that begins nothing any more. */
export function longAgo(): string {
  return new Date(Date.now() - 2 * DEADLINE_SECONDS * 1_000).toISOString();
}

/** Signed by someone who is not the apiserver. */
export function forged<R extends MountRequest | UnmountRequest>(request: R): Signed<R> {
  return signRequest(request, stranger.privateKey);
}

/** What a workflow gives to `reserveDevices`. */
export function reservationOf(signedRequest: Signed<MountRequest>): {
  readonly signed: Signed<MountRequest>;
  readonly mountUid: string;
  readonly mount: DeviceMount;
} {
  const mountUid = randomUUID();
  const identity = { uid: mountUid, creationTimestamp: new Date().toISOString(), resourceVersion: '1' };
  const mount = mountOfRequest(signedRequest.request, identity, { phase: 'Pending', devices: [], slaves: [] });
  return { signed: signedRequest, mountUid, mount };
}

export const SLAVE_SETTINGS = {
  image: 'pause:1',
  pullSecrets: [],
  graceSeconds: 30,
  requests: { cpu: '5m', memory: '32Mi' },
  limits: { cpu: '100m', memory: '32Mi' },
  holdsBy: 'preStop',
} as const satisfies SlaveSettings;
