import type { DeviceMount } from '../contract/device-mount.ts';

/** Markdown that the Temporal UI shows for an open mount. */
export function detailsOf({ metadata, spec, status }: DeviceMount): string {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['Phase', status.phase],
    ['Target', `container \`${spec.container}\` of pod \`${metadata.namespace}/${spec.podName}\``],
    ['Node', code(status.node)],
    ['Asked for by', code(status.user)],
    ['Resources', listOf(Object.entries(spec.resources).map(([name, quantity]) => `${name}: ${quantity}`))],
    ['Claims', listOf((spec.claims ?? []).map(({ name }) => name))],
    ['Devices', listOf(status.devices.flatMap(({ id, nodes }) => [id, ...nodes.map(({ path }) => path)]))],
    ['Slaves', listOf(status.slaves.map(({ name }) => name))],
    ['Mounted at', status.mountedAt],
    ['Lease ends at', status.leaseEndsAt],
    ['Reason', status.reason],
    ['Message', status.message],
    ['Warnings', status.warnings?.map(({ message }) => message).join('; ')],
  ];
  const lines = rows
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => `- **${key}:** ${value}`);
  return `### ${spec.deviceType} for ${spec.podName}\n\n${lines.join('\n')}\n`;
}

function listOf(values: readonly string[]): string {
  return [...new Set(values)].map((value) => `\`${value}\``).join(', ');
}

function code(value: string | undefined): string | undefined {
  return value === undefined ? undefined : `\`${value}\``;
}
