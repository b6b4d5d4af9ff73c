import type { DeviceMount } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import type { MountRequest, Signed, Target } from '../contract/requests.ts';
import { verifiedRequest } from '../contract/signature.ts';
import type { Dependencies } from './dependencies.ts';

/**
 * The pod that a mount is about, when a signed request proves that it is.
 * @throws InvalidSignature
 */
export function verifiedTarget(
  deps: Pick<Dependencies, 'clusterName' | 'publicKeys' | 'now'>,
  signed: Signed<MountRequest>,
  { metadata, spec }: DeviceMount,
): Target {
  const { name, target } = verifiedRequest(signed, deps, 'goOn');
  const { podUid, podName: pod } = spec;
  const same = target.podUid === podUid && target.pod === pod && target.namespace === metadata.namespace;
  if (same && name === metadata.name) return target;
  throw fail('InvalidSignature', `Cannot tell of pod "${pod}": the signed request is for another pod or mount`);
}
