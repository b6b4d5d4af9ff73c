import { deviceKey } from '../cgroup/rule.ts';
import type { DevicePolicy, Inspection } from '../kernel/engine.ts';
import { keyOf, type MountRecord } from '../state/mount-record.ts';

/** What a container may open and why, for people: one line for each device node, then the rules that decide. */
export function inspectionText(inspection: Inspection, records: readonly MountRecord[]): string {
  const { containerId, pid, cgroup, dev, nodes, policies } = inspection;
  const own = records.filter((record) => record.containerId === containerId);
  const lines = [
    `container ${containerId}`,
    `init      pid ${pid}`,
    `cgroup    v${cgroup.version} ${cgroup.path}${cgroup.initPath === cgroup.path ? '' : `, init in ${cgroup.initPath}`}`,
    `/dev      ${dev}`,
    '',
    'device nodes',
    ...nodes.map(({ path, access, ...device }) => {
      return `  ${path}  ${deviceKey(device)}  ${access === '' ? 'refused' : access}  ${reasonsFor(device, own)}`;
    }),
    ...missingLines(inspection, own),
    '',
    'rules, outermost cgroup first',
    ...policies.flatMap(policyLines),
  ];
  return `${lines.join('\n')}\n`;
}

type Device = Parameters<typeof deviceKey>[0];

/** By the checkpoints: the kernel's rules do not say for whom they are. */
function reasonsFor(device: Device, records: readonly MountRecord[]): string {
  const reasons = records.flatMap(({ mount, phase, signed, devices }) =>
    devices
      .filter(({ grant }) => grant.devices.some((granted) => deviceKey(granted) === deviceKey(device)))
      .map(({ id, resource }) => `${phase} by mount ${keyOf(mount)} of ${signed.request.user.name}: ${resource} ${id}`),
  );
  return reasons.length === 0 ? 'not ours' : reasons.join('; ');
}

function missingLines({ nodes }: Inspection, records: readonly MountRecord[]): readonly string[] {
  const paths = new Set(nodes.map(({ path }) => path));
  return records
    .filter(({ phase }) => phase === 'attached')
    .flatMap(({ devices }) => devices.flatMap(({ grant }) => grant.devices))
    .filter(({ path }) => !paths.has(path))
    .map((device) => `  ${device.path}  ${deviceKey(device)}  MISSING  ${reasonsFor(device, records)}`);
}

function policyLines(policy: DevicePolicy): readonly string[] {
  if ('list' in policy) return [`  ${policy.cgroup}`, ...policy.list.map((rule) => `    ${rule}`)];
  const { cgroup, programId, name, tag, instructions, readable, ours } = policy;
  const size = readable ? `${instructions} instructions` : 'instructions hidden by the kernel';
  return [
    `  ${cgroup}`,
    `    program ${programId} "${name}", tag ${tag}, ${size}`,
    ...ours.map((rule) => `      ours: allow ${deviceKey(rule)} ${rule.access}`),
  ];
}
