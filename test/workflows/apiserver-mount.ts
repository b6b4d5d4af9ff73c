import type { NewMount } from '../../apiserver/mounts/mounts.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { fingerprintOf } from '../../contract/fingerprint.ts';
import { mountOfRequest } from '../../contract/mount-of-request.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { signed } from './requests.ts';

/** What the apiserver makes of a request. `chosen`: the caller has given it a name or an idempotency key. */
export function newMount(request: MountRequest, chosen = true): NewMount {
  return { input: signed(request), first: first(request), fingerprint: fingerprintOf(request, chosen) };
}

function first(request: MountRequest): DeviceMount {
  const { requestedAt } = request;
  const identity = { uid: '', creationTimestamp: requestedAt, resourceVersion: String(Date.parse(requestedAt)) };
  return mountOfRequest(request, identity, { phase: 'Pending', devices: [], slaves: [] });
}
