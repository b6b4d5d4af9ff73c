import type { MountWarning } from '../../contract/device-mount.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { driverOf } from '../drivers/drivers.ts';
import type { ContainerHandle } from '../kernel/engine.ts';
import type { NodeDependencies } from './dependencies.ts';

/**
 * What keeps the container from making use of the devices, for people: what it lacks, and `known`. The pod is told by an Event. It
 * never fails: what cannot be looked at is not warned of.
 */
export async function preflight(
  { engine, events, log }: Pick<NodeDependencies, 'engine' | 'events' | 'log'>,
  handle: ContainerHandle,
  { deviceType, target, name }: MountRequest,
  known: readonly string[],
): Promise<readonly MountWarning[]> {
  const { needs } = driverOf(deviceType);
  const lacks = async (): Promise<boolean> => needs !== undefined && !(await engine.hasAnyFile(handle, needs.anyOf));
  const isLacking = await lacks().catch((err: unknown) => {
    log.info({ err, mount: name }, 'cannot look whether the container has what the devices need');
    return false;
  });
  const problems = [...known, ...(isLacking && needs !== undefined ? [needs.otherwise] : [])];
  if (problems.length === 0) return [];
  const message = `Container "${target.container}": ${problems.join('. ')}`;
  const pod = { kind: 'Pod', namespace: target.namespace, name: target.pod, uid: target.podUid } as const;
  events.warn(pod, 'DeviceNeedsMore', `Mount ${name}: ${message}`.slice(0, MAX_MESSAGE)).catch((err: unknown) => {
    log.warn({ err, mount: name }, 'cannot send an Event');
  });
  return [{ type: 'DriverFilesMissing', message }];
}

/** kube-apiserver takes 1,024 characters. */
const MAX_MESSAGE = 1_000;
