import { fail } from '../../contract/failures.ts';
import { accessBits, deviceKey } from '../cgroup/rule.ts';
import { driverOf } from '../drivers/drivers.ts';
import { nodesText } from '../drivers/nodes-text.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { NodeDependencies } from '../mounts/dependencies.ts';
import { keyOf, type MountRecord } from '../state/mount-record.ts';
import { liveDevices } from '../steps/findings.ts';

/**
 * Compares what was attached at allocation with what the running slaves have. What they lack was granted without right: the
 * runtime, which has the last word, has not given it. What they have besides is the runtime's default or another plugin's.
 * @throws NotAllocated with both lists
 */
export async function confirm(deps: NodeDependencies, record: MountRecord): Promise<void> {
  await confirmIds(deps, record);
  const live = (await Promise.all(record.slaves.map((slave) => liveDevices(deps, slave)))).flat();
  const granted = record.devices.flatMap(({ grant }) => grant.devices);
  const expected = driverOf(record.signed.request.deviceType).expected?.(granted, live) ?? granted;
  if (!expected.every((node) => live.some((other) => allows(other, node)))) {
    throw fail(
      'NotAllocated',
      `Cannot keep mount "${record.mount.name}": ${nodesText(granted)} are attached, ` +
        `the running slave has ${nodesText(live)}`,
    );
  }
  const more = live.filter((node) => !granted.some((other) => deviceKey(other) === deviceKey(node)));
  if (more.length > 0) {
    deps.log.info(
      { mount: keyOf(record.mount), devices: nodesText(more) },
      'a slave has more devices than its plugin named',
    );
  }
}

/** The kubelet's checkpoint, by which was attached, against what the kubelet says itself, where it serves that. */
async function confirmIds({ podResources }: NodeDependencies, { mount, slaves, devices }: MountRecord): Promise<void> {
  const served = await Promise.all(slaves.map(({ namespace, name }) => podResources.deviceIds(namespace, name)));
  const told = served.filter((ids) => ids !== undefined);
  if (told.length < served.length) return;
  const held = devices.map(({ id, kubeletId = id, resource }) => ({ id: kubeletId, resource }));
  const wrong = held.find(({ id, resource }) => !told.some((ids) => ids.get(resource)?.includes(id)));
  if (wrong === undefined) return;
  const { id, resource } = wrong;
  const ids = told.flatMap((some) => some.get(resource) ?? []).join(', ') || 'none';
  throw fail(
    'NotAllocated',
    `Cannot keep mount "${mount.name}": ${resource} "${id}" is attached, its slave has ${ids}`,
  );
}

/** Making nodes (`m`) is allowed to every container by default, so that a plugin's not asking for it says nothing. */
function allows(live: DeviceNode, granted: DeviceNode): boolean {
  const wanted = accessBits(granted.access.replace('m', ''));
  return deviceKey(live) === deviceKey(granted) && (wanted & ~accessBits(live.access)) === 0;
}
