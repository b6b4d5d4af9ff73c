import { accessBits, accessLetters, deviceKey } from '../cgroup/rule.ts';
import type { DeviceId, DevicePolicy, GrantedDevice, InspectedDevice, Inspection } from '../kernel/engine.ts';
import { keyOf, type MountRecord } from '../state/mount-record.ts';
import { table } from './table.ts';

/** What the node's checkpoints say was given to this container, and for whom: the kernel's rules do not say that. */
interface Given {
  readonly device: GrantedDevice;
  readonly phase: MountRecord['phase'];
  /** For people: `default/m1 of jane, hostdev.k8s.io/dev_fuse /dev/fuse`. */
  readonly why: string;
}

/**
 * What a container may open, which part is ours, and why, as text: its place, what decides (every list or program of its
 * cgroups), then a line for each device. KERNEL is the kernel's own answer, READ is what this program reads out of the
 * rules; `?` is one that could not be had. `hostPaths`: by `deviceKey`, where the host has its nodes.
 */
export function inspectionReport(
  inspection: Inspection,
  records: readonly MountRecord[],
  hostPaths: ReadonlyMap<string, string> = new Map(),
): string {
  const { containerId, pid, cgroup, dev, policies, nodes, others, unasked } = inspection;
  const given = givenTo(containerId, records);
  const stillUsed = givenBy(
    records.filter((record) => record.containerId === containerId && record.leftToDo === 'endUsers'),
  );
  const missing = given.filter(({ device, phase }) => phase === 'attached' && !hasNode(inspection, device));
  const openable = others.filter((device) => /[rw]/.test(device.kernel + device.access) || disagrees(device));
  const rowOfOther = (device: InspectedDevice): readonly string[] =>
    rowOf(hostPaths.get(deviceKey(device)) ?? '-', device, given);
  const count = disagreements(inspection).length;
  return [
    `container  ${containerId}`,
    `process    ${pid}`,
    `cgroup     v${cgroup.version} ${cgroup.path}${below(cgroup)}`,
    `/dev       ${DEV[dev]}`,
    `kernel     ${unasked === undefined ? 'asked' : `not asked: ${unasked}`}`,
    ...(unasked === undefined ? [`agreement  ${count === 0 ? 'yes' : `NO, on ${count} of the devices below`}`] : []),
    '',
    ...table([HEAD, ...nodes.map((node) => rowOf(node.path, node, given))]),
    ...missing.map(({ device, why }) => `MISSING ${device.path} (${deviceKey(device)}), given to ${why}`),
    ...stillUsed.map(({ device, why }) => `STILL USED ${device.path} (${deviceKey(device)}), taken back from ${why}`),
    ...filesGivenTo(containerId, records),
    ...(openable.length === 0 ? [] : ['', 'without a node, where the container could make one:']),
    ...(openable.length === 0 ? [] : table([['HOST', ...HEAD.slice(1)], ...openable.map(rowOfOther)])),
    '',
    ...policies.flatMap(policyLines),
    '',
  ].join('\n');
}

/** Devices about which the kernel says something else than what is read out of its rules. */
export function disagreements({ nodes, others }: Inspection): readonly InspectedDevice[] {
  return [...nodes, ...others].filter(disagrees);
}

const disagrees = ({ access, kernel }: InspectedDevice): boolean =>
  access !== '?' && kernel !== '?' && access !== kernel;

const HEAD = ['NODE', 'DEVICE', 'KERNEL', 'READ', 'WHY'];

const DEV: Readonly<Record<Inspection['dev'], string>> = {
  own: "the container's own: nodes are made in it",
  shared: "the host's: gets rules only",
  'user-namespace': 'of a user namespace: nodes are mounted in it',
  'read-only': 'read-only, and stays so: nodes are made in it all the same',
};

const below = ({ path, initPath }: Inspection['cgroup']): string =>
  path === initPath ? '' : ` (its init in ${initPath.slice(path.length)})`;

function rowOf(path: string, device: InspectedDevice, given: readonly Given[]): readonly string[] {
  const why = disagrees(device) ? `DISAGREEMENT; ${whyOf(device, given)}` : whyOf(device, given);
  return [path, deviceKey(device), device.kernel || '-', device.access || '-', why];
}

/** Whose doing it is that the container may open a device, or that it may not. */
function whyOf(device: InspectedDevice, given: readonly Given[]): string {
  const own = given.filter(({ device: other }) => deviceKey(other) === deviceKey(device));
  const now = device.kernel === '?' ? device.access : device.kernel;
  const [first] = own;
  if (first === undefined) {
    if (now === '?') return 'not ours';
    return /[rw]/.test(now) ? 'not ours: allowed by its own policy' : 'not ours: refused by its own policy';
  }
  const before = opening(first.device.accessBefore);
  const lost = own.some(({ phase, device: { access } }) => phase === 'attached' && lacks(now, access));
  return [
    `ours: ${own.map(({ why, phase }) => `${why}${phase === 'attached' ? '' : ` (${phase})`}`).join('; ')}`,
    ...(before === '' ? [] : [`had ${before} before`]),
    ...(lost ? ['TAKEN BACK by others'] : []),
  ].join('; ');
}

/** Without `m`: making nodes is allowed to nearly every container. */
const opening = (access: string): string => access.replace('m', '');

const lacks = (access: string, wanted: string): boolean =>
  access !== '?' && accessLetters(accessBits(wanted) & ~accessBits(access)) !== '';

function givenTo(containerId: string, records: readonly MountRecord[]): readonly Given[] {
  return givenBy(records.filter((record) => record.containerId === containerId && record.phase !== 'revoked'));
}

/** One line for each mount of each file; links are not worth one. */
function filesGivenTo(containerId: string, records: readonly MountRecord[]): readonly string[] {
  const own = records.filter((record) => record.containerId === containerId && record.phase !== 'revoked');
  const lines = own.flatMap(({ mount, signed, devices }) =>
    devices
      .flatMap(({ grant }) => grant.files ?? [])
      .filter(({ kind, name }) => kind === 'mount' && name === 'made')
      .map(({ path }) => `FILE ${path}, mounted for mount ${keyOf(mount)} of ${signed.request.user.name}`),
  );
  return [...new Set(lines)];
}

function givenBy(records: readonly MountRecord[]): readonly Given[] {
  return records.flatMap(({ mount, phase, signed, devices }) =>
    devices.flatMap(({ id, resource, grant }) =>
      grant.devices.map((device) => ({
        device,
        phase,
        why: `mount ${keyOf(mount)} of ${signed.request.user.name}, ${resource} ${id}`,
      })),
    ),
  );
}

function hasNode({ nodes }: Inspection, device: DeviceId & { readonly path: string }): boolean {
  return nodes.some((node) => node.path === device.path && deviceKey(node) === deviceKey(device));
}

function policyLines(policy: DevicePolicy): readonly string[] {
  if ('list' in policy) {
    const hiding = policy.list.some((line) => line.startsWith('a '));
    return [
      `devices.list of ${policy.cgroup}${hiding ? ' (what it refuses all the same, cgroup v1 does not tell)' : ''}`,
      ...policy.list.map((line) => `  ${line}`),
    ];
  }
  const name = policy.name === '' ? 'without a name' : `"${policy.name}"`;
  const size = policy.instructions === 0 ? 'instructions hidden by the kernel' : `${policy.instructions} instructions`;
  return [
    `program ${policy.programId} ${name} of ${policy.cgroup}: tag ${policy.tag}, ${size}`,
    ...(policy.readable ? [] : ['  cannot be read']),
    ...policy.ours.map((rule) => `  ours: ${deviceKey(rule)} ${rule.access}`),
  ];
}
