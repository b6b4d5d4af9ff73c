import type { DeviceMount } from './device-mount.ts';
import { GROUP_VERSION } from './names.ts';
import type { MountRequest } from './requests.ts';

type Identity = Pick<DeviceMount['metadata'], 'uid' | 'creationTimestamp' | 'resourceVersion'>;
type State = Omit<DeviceMount['status'], 'user'>;

/** The DeviceMount that a request asks for, as whoever knows it sees it. */
export function mountOfRequest(request: MountRequest, identity: Identity, state: State): DeviceMount {
  const { name, target, labels, leaseSeconds, split, claims, inject } = request;
  return {
    apiVersion: GROUP_VERSION,
    kind: 'DeviceMount',
    metadata: { name, namespace: target.namespace, ...identity, ...(Object.keys(labels).length > 0 && { labels }) },
    spec: {
      podName: target.pod,
      podUid: target.podUid,
      container: target.container,
      deviceType: request.deviceType,
      resources: request.resources,
      onRestart: request.onRestart,
      ...(claims && { claims }),
      ...(inject !== undefined && { inject }),
      ...(split && { split }),
      ...(leaseSeconds !== undefined && { leaseSeconds }),
    },
    status: { user: request.user.name, ...state },
  };
}
