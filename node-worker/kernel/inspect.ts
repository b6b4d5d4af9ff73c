import { failureOf } from '../../contract/failures.ts';
import { levelsBetween } from '../cgroup/path.ts';
import { ProgramError } from '../cgroup/rewrite.ts';
import { deviceKey } from '../cgroup/rule.ts';
import { askKernel, type Deciding, decidingOver } from './ask-kernel.ts';
import type { CgroupRoots } from './cgroup-roots.ts';
import { cgroupTree } from './cgroup-tree.ts';
import { readDeviceListText } from './cgroup-v1.ts';
import { programsOf } from './cgroup-v2.ts';
import type { OpenContainer } from './container.ts';
import { devOf } from './container-dev.ts';
import { withRoot } from './container-root.ts';
import { nodesBelowDev } from './dev-nodes.ts';
import type { DeviceId, DevicePolicy, Grant, InspectedDevice, Inspection } from './engine.ts';
import { withHints } from './grant.ts';
import { accessTo } from './policy.ts';

/** Somebody changes the rules while they are looked at: start over, but not for ever. */
const MAX_ATTEMPTS = 5;
const UNKNOWN = '?';

/** See `KernelEngine.inspect`. Changes nothing of the container, and reads its files itself: not for the node worker. */
export function inspect(
  opened: OpenContainer,
  roots: CgroupRoots,
  grants: readonly Grant[] = [],
  more: readonly DeviceId[] = [],
): Inspection {
  const container = withHints(opened, grants);
  const { containerId, pid, cgroup } = container;
  const { dev, nodes } = withRoot(container, (root) => ({ dev: devOf(root), nodes: nodesBelowDev(root) }));
  const rules = grants.filter((grant) => grant.containerId === containerId).flatMap(({ devices }) => devices);
  const policies = cgroup.version === 1 ? listPolicies(cgroup.path) : programPolicies(container);
  const ours = policies.flatMap((policy) => ('ours' in policy ? policy.ours : []));
  const devices = distinct([...nodes, ...rules, ...ours, ...more]);
  const { access, kernel, unasked } = bothAnswers(container, roots, devices);
  const answered = new Map(
    devices.map((device, index): [string, InspectedDevice] => {
      const answers = { access: access[index] ?? UNKNOWN, kernel: kernel[index] ?? UNKNOWN };
      return [deviceKey(device), { ...device, ...answers }];
    }),
  );
  return {
    containerId,
    pid,
    cgroup,
    dev,
    policies,
    nodes: nodes.map((node) => {
      const own = ours.some((rule) => deviceKey(rule) === deviceKey(node));
      return { ...node, access: UNKNOWN, kernel: UNKNOWN, ...answered.get(deviceKey(node)), ours: own };
    }),
    others: [...answered.values()].filter((device) => !nodes.some((node) => deviceKey(node) === deviceKey(device))),
    ...(unasked !== undefined && { unasked }),
  };
}

interface BothAnswers {
  readonly access: readonly string[];
  readonly kernel: readonly string[];
  readonly unasked?: string;
}

/** Both of one and the same policy, or else a difference would mean nothing. */
function bothAnswers(container: OpenContainer, roots: CgroupRoots, devices: readonly DeviceId[]): BothAnswers {
  for (let attempt = 1; ; attempt++) {
    const before = decidingOver(container, roots);
    const answers = { access: read(container, devices), ...asked(before, roots, devices) };
    if (isSame(before, decidingOver(container, roots))) return answers;
    if (attempt === MAX_ATTEMPTS) {
      return { ...answers, kernel: [], unasked: 'the rules of the container change all the time' };
    }
  }
}

/** What the engine makes of lists and programs; nothing where the kernel hides a program or it does what none should. */
function read(container: OpenContainer, devices: readonly DeviceId[]): readonly string[] {
  try {
    return accessTo(container, devices);
  } catch (err) {
    if (failureOf(err)?.type !== 'ContainerUnsupported' && !(err instanceof ProgramError)) throw err;
    return [];
  }
}

function asked(
  deciding: Deciding,
  roots: CgroupRoots,
  devices: readonly DeviceId[],
): Pick<BothAnswers, 'kernel' | 'unasked'> {
  try {
    return { kernel: askKernel(deciding, roots, devices) };
  } catch (err) {
    return { kernel: [], unasked: err instanceof Error ? err.message : String(err) };
  }
}

const isSame = (a: Deciding, b: Deciding): boolean => JSON.stringify(a) === JSON.stringify(b);

const distinct = (devices: readonly DeviceId[]): readonly DeviceId[] => [
  ...new Map(
    devices.map(({ type, major, minor }) => [deviceKey({ type, major, minor }), { type, major, minor }]),
  ).values(),
];

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
      ours: ours ?? [],
      readable: ours !== undefined,
    })),
  );
