import { accessBits, accessLetters, type DeviceRule, deviceKey } from '../cgroup/rule.ts';
import type { DevicePolicy, Grant, Inspection } from '../kernel/engine.ts';

/**
 * What a container may open, which part is ours, and why, as text: its place, what decides (every list or program of its
 * cgroups), then a line for each device node. `grants` are the live grants of the node's checkpoints. Accesses are what
 * the kernel's own lists and programs answer; `?` where it hides a program.
 */
export function inspectionReport(inspection: Inspection, grants: readonly Grant[]): string {
  const { containerId, pid, cgroup, dev, policies, nodes } = inspection;
  const own = grants.filter((grant) => grant.containerId === containerId);
  const rows = nodes.map((node) => [
    node.path,
    deviceKey(node),
    node.access === '' ? '-' : node.access,
    why(node, own),
  ]);
  return [
    `container  ${containerId}`,
    `process    ${pid}`,
    `cgroup     v${cgroup.version} ${cgroup.path}${below(cgroup)}`,
    `/dev       ${DEV[dev]}`,
    '',
    ...policies.flatMap(policyLines),
    '',
    ...table([['NODE', 'DEVICE', 'ACCESS', 'WHY'], ...rows]),
    ...missing(own, nodes),
    '',
  ].join('\n');
}

const DEV: Readonly<Record<Inspection['dev'], string>> = {
  own: "the container's own: nodes are made in it",
  shared: "the host's: gets rules only",
  'user-namespace': 'of a user namespace: nodes are mounted in it',
  'read-only': 'read-only: gets rules only',
};

const below = ({ path, initPath }: Inspection['cgroup']): string =>
  path === initPath ? '' : ` (its init in ${initPath.slice(path.length)})`;

function policyLines(policy: DevicePolicy): readonly string[] {
  if ('list' in policy) return [`devices.list of ${policy.cgroup}`, ...policy.list.map((line) => `  ${line}`)];
  const name = policy.name === '' ? 'without a name' : `"${policy.name}"`;
  const size = policy.readable ? `${policy.instructions} instructions` : 'instructions hidden by the kernel';
  return [
    `program ${policy.programId} ${name} of ${policy.cgroup}: tag ${policy.tag}, ${size}`,
    ...policy.ours.map((rule) => `  ours: ${deviceKey(rule)} ${rule.access}`),
  ];
}

/** Whose doing it is that the container may open a node, or that it may not. */
function why(node: DeviceRule, grants: readonly Grant[]): string {
  const given = grants.flatMap(({ owner, devices }) =>
    devices.filter((device) => deviceKey(device) === deviceKey(node)).map((device) => ({ owner, device })),
  );
  if (given.length === 0) return node.access === '' ? 'refused by its policy' : 'allowed before us';
  const owners = given.map(({ owner, device }) => `${owner} (${device.access})`).join(', ');
  const before = given[0]?.device.accessBefore ?? '';
  const lost = given.some(({ device }) => lacks(node.access, device.access));
  return `ours: ${owners}${before === '' ? '' : `; had ${before} before`}${lost ? '; TAKEN BACK by others' : ''}`;
}

const lacks = (access: string, wanted: string): boolean =>
  access !== '?' && accessLetters(accessBits(wanted) & ~accessBits(access)) !== '';

function missing(grants: readonly Grant[], nodes: Inspection['nodes']): readonly string[] {
  return grants.flatMap(({ owner, devices }) =>
    devices
      .filter((device) => !nodes.some((node) => node.path === device.path && deviceKey(node) === deviceKey(device)))
      .map((device) => `MISSING ${device.path} (${deviceKey(device)}) of ${owner}`),
  );
}

function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = rows.reduce<readonly number[]>(
    (most, row) => row.map((cell, column) => Math.max(cell.length, most[column] ?? 0)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
