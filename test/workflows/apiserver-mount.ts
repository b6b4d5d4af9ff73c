import type { NewMount } from '../../apiserver/mounts.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { fingerprintOf } from '../../contract/fingerprint.ts';
import { GROUP_VERSION } from '../../contract/names.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { signed } from './requests.ts';

/** What the apiserver makes of a request. `chosen`: the caller has given it a name or an idempotency key. */
export function newMount(request: MountRequest, chosen = true): NewMount {
  return { input: signed(request), first: first(request), fingerprint: fingerprintOf(request, chosen) };
}

function first({ name, target, resources, user, requestedAt, leaseSeconds }: MountRequest): DeviceMount {
  return {
    apiVersion: GROUP_VERSION,
    kind: 'DeviceMount',
    metadata: {
      name,
      namespace: target.namespace,
      uid: '',
      creationTimestamp: requestedAt,
      resourceVersion: String(Date.parse(requestedAt)),
    },
    spec: {
      podName: target.pod,
      podUid: target.podUid,
      container: target.container,
      deviceType: 'HOSTDEV',
      resources,
      onRestart: 'reapply',
      ...(leaseSeconds !== undefined && { leaseSeconds }),
    },
    status: { phase: 'Pending', user: user.name, devices: [], slaves: [] },
  };
}
