import { failureOf } from '../../contract/failures.ts';
import { levelsBetween } from '../cgroup/path.ts';
import { deviceKey } from '../cgroup/rule.ts';
import { cgroupTree, readDeviceListText } from './cgroup-v1.ts';
import { programsOf } from './cgroup-v2.ts';
import type { OpenContainer } from './container.ts';
import type { DevicePolicy, Inspection } from './engine.ts';
import { nodesOf } from './live-devices.ts';

/** See `KernelEngine.inspect`. Changes nothing. */
export function inspect(container: OpenContainer): Inspection {
  const { containerId, pid, cgroup, dev } = container;
  const policies = cgroup.version === 1 ? listPolicies(cgroup.path) : programPolicies(container);
  const ours = new Set(policies.flatMap((policy) => ('ours' in policy ? policy.ours.map(deviceKey) : [])));
  const nodes = readNodes(container).map((node) => ({ ...node, ours: ours.has(deviceKey(node)) }));
  return { containerId, pid, cgroup, dev, policies, nodes };
}

function readNodes(container: OpenContainer): ReturnType<typeof nodesOf> {
  try {
    return nodesOf(container);
  } catch (err) {
    if (failureOf(err)?.type !== 'ContainerUnsupported') throw err;
    return nodesOf(container, false);
  }
}

const listPolicies = (cgroup: string): readonly DevicePolicy[] =>
  cgroupTree(cgroup).map((path) => ({ cgroup: path, list: readDeviceListText(path).split('\n').filter(Boolean) }));

const programPolicies = ({ cgroup, hints }: OpenContainer): readonly DevicePolicy[] =>
  levelsBetween(cgroup.path, cgroup.initPath).flatMap((level) =>
    programsOf(level, hints).map(({ info, ours }) => ({
      cgroup: level,
      programId: info.id,
      name: info.name,
      tag: info.tag,
      instructions: info.dump?.length ?? 0,
      ours,
      readable: info.dump !== undefined,
    })),
  );
