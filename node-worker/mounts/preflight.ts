import type { MountWarning } from '../../contract/device-mount.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { driverOf } from '../drivers/drivers.ts';
import type { ContainerHandle } from '../kernel/engine.ts';
import type { NodeDependencies } from './dependencies.ts';

/**
 * What the container lacks to make use of the devices; the pod is told by an Event. It never fails: what cannot be
 * looked at is not warned of.
 */
export async function preflight(
  { engine, events, log }: Pick<NodeDependencies, 'engine' | 'events' | 'log'>,
  handle: ContainerHandle,
  { deviceType, target, name }: MountRequest,
): Promise<readonly MountWarning[]> {
  const { needs } = driverOf(deviceType);
  if (needs === undefined) return [];
  try {
    if (await engine.hasAnyFile(handle, needs.anyOf)) return [];
  } catch (err) {
    log.info({ err, mount: name }, 'cannot look whether the container has what the devices need');
    return [];
  }
  const message = `Container "${target.container}": ${needs.otherwise}`;
  const pod = { kind: 'Pod', namespace: target.namespace, name: target.pod, uid: target.podUid } as const;
  events.warn(pod, 'DeviceNeedsMore', `Mount ${name}: ${message}`).catch((err: unknown) => {
    log.warn({ err, mount: name }, 'cannot send an Event');
  });
  return [{ type: 'DriverFilesMissing', message }];
}
