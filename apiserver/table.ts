import type { DeviceMount } from '../contract/device-mount.ts';

interface Column {
  readonly name: string;
  readonly description: string;
  /** 1: only with `-o wide`. */
  readonly priority: 0 | 1;
  readonly cell: (mount: DeviceMount, now: Date) => string;
}

const COLUMNS: readonly Column[] = [
  { name: 'Name', description: 'Name of the mount.', priority: 0, cell: ({ metadata }) => metadata.name },
  { name: 'Pod', description: 'Pod that uses the devices.', priority: 0, cell: ({ spec }) => spec.podName },
  { name: 'Container', description: 'Its container.', priority: 0, cell: ({ spec }) => spec.container },
  { name: 'Type', description: 'Type of the devices.', priority: 0, cell: ({ spec }) => spec.deviceType },
  { name: 'Devices', description: 'Devices that are mounted.', priority: 0, cell: devicesOf },
  { name: 'Node', description: 'Node of the pod.', priority: 0, cell: ({ status }) => status.node ?? '<none>' },
  { name: 'Phase', description: 'Where the mount stands.', priority: 0, cell: ({ status }) => status.phase },
  { name: 'Lease', description: 'Time until the mount ends by itself.', priority: 0, cell: leaseOf },
  {
    name: 'Age',
    description: 'Time since it was asked for.',
    priority: 0,
    cell: ({ metadata }, now) => shortDuration(now.getTime() - Date.parse(metadata.creationTimestamp)),
  },
  { name: 'User', description: 'Who asked for it.', priority: 1, cell: ({ status }) => status.user },
  {
    name: 'Slaves',
    description: 'Pods that hold the devices.',
    priority: 1,
    cell: ({ status }) => status.slaves.map(({ name }) => name).join(',') || '<none>',
  },
  {
    name: 'Reason',
    description: 'Why it failed or ended.',
    priority: 1,
    cell: ({ status }) => status.reason ?? '<none>',
  },
];

export type IncludeObject = 'None' | 'Metadata' | 'Object';

/** `meta.k8s.io/v1 Table` as kubectl prints it. */
export function tableOf(
  mounts: readonly DeviceMount[],
  listMetadata: Readonly<Record<string, unknown>>,
  { includeObject, columns }: { readonly includeObject: IncludeObject; readonly columns: boolean },
  now: Date,
) {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: listMetadata,
    // In a watch only the first table has them.
    columnDefinitions: (columns ? COLUMNS : []).map(({ name, description, priority }) => ({
      name,
      type: 'string',
      format: name === 'Name' ? 'name' : '',
      description,
      priority,
    })),
    rows: mounts.map((mount) => ({
      cells: COLUMNS.map(({ cell }) => cell(mount, now)),
      ...(includeObject !== 'None' && { object: includeObject === 'Object' ? mount : metadataOnly(mount) }),
    })),
  };
}

function metadataOnly({ metadata }: DeviceMount) {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata };
}

function devicesOf({ status, spec }: DeviceMount): string {
  if (status.devices.length === 0) {
    const asked = Object.entries(spec.resources).map(([resource, quantity]) => `${resource}=${quantity}`);
    return status.phase === 'Pending' ? `(${asked.join(',')})` : '<none>';
  }
  // A path tells more than an id such as GPU-5f3c….
  return status.devices.map(({ id, nodes: [node] }) => node?.path ?? id).join(',');
}

function leaseOf({ status }: DeviceMount, now: Date): string {
  if (status.leaseEndsAt === undefined || status.phase === 'Released' || status.phase === 'Failed') return '<none>';
  return shortDuration(Date.parse(status.leaseEndsAt) - now.getTime());
}

/** A duration in kubectl's words (`k8s.io/apimachinery/pkg/util/duration.HumanDuration`, a little coarser). */
function shortDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  return days < 730 ? `${days}d` : `${Math.floor(days / 365)}y`;
}
