import { load } from 'js-yaml';
import { z } from 'zod';
import { fail } from '../../contract/failures.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Host } from './driver.ts';

/** Where runtimes look for specs; a device in the second takes precedence (CDI specification, "Default directories"). */
const DIRECTORIES = ['/etc/cdi', '/var/run/cdi'];
const NAME = /^([^/=]+\/[^/=]+)=([^/=]+)$/;
const MAX_NODES = 1_024;
const MAX_DEVICES = 4_096;

/** What a spec gives for one CDI name: nodes and mounts. Its other edits are only told of, and its hooks are never run. */
export interface CdiDevice {
  /** The name without vendor and class. */
  readonly id: string;
  /** The spec's path on the host. */
  readonly file: string;
  /** Nodes of the device, and those that the spec adds for each of its devices. */
  readonly nodes: readonly DeviceNode[];
  readonly own: readonly DeviceNode[];
  /** What else it gives, for people: `environment NAME`, without the value, or `mount /path`. */
  readonly others: readonly string[];
  /** Files of the host that it mounts. */
  readonly mounts: readonly CdiMount[];
}

interface CdiMount {
  readonly hostPath: string;
  readonly containerPath: string;
}

const NUMBER = z.int().min(0).max(0xffffffff);
const NODE = z.object({
  path: z.string().regex(/^\//),
  hostPath: z.string().regex(/^\//).nullish(),
  type: z.enum(['', 'b', 'c', 'u', 'p']).nullish(),
  major: NUMBER.nullish(),
  minor: NUMBER.nullish(),
  fileMode: NUMBER.nullish(),
  permissions: z
    .string()
    .regex(/^[rwm]*$/)
    .nullish(),
  uid: NUMBER.nullish(),
  gid: NUMBER.nullish(),
});
const MOUNT = z.object({
  hostPath: z.string(),
  containerPath: z.string().regex(/^\//),
  type: z.string().nullish(),
});
const EDITS = z
  .object({
    deviceNodes: z.array(NODE).max(MAX_NODES).nullish(),
    // Nodes are given whatever is wrong with these.
    env: z.array(z.string()).catch([]).optional(),
    mounts: z.array(MOUNT).max(MAX_NODES).nullish().catch([]),
  })
  .nullish();
const SPEC = z.object({
  cdiVersion: z.string(),
  kind: z.string().regex(/^[^/=]+\/[^/=]+$/),
  devices: z.array(z.object({ name: z.string().min(1), containerEdits: EDITS })).max(MAX_DEVICES),
  containerEdits: EDITS,
});

type Spec = z.infer<typeof SPEC>;
type Edits = z.infer<typeof EDITS>;

interface SpecFile {
  readonly directory: string;
  readonly file: string;
  readonly spec: Spec;
}

/**
 * What the specs of the host say of these names. A spec that cannot be read is no matter while another one has the device, as
 * for runtimes.
 * @throws NotAllocated with the reason of each spec that cannot be read
 */
export function cdiDevicesOf(names: readonly string[], host: Host): readonly CdiDevice[] {
  if (names.length === 0) return [];
  const problems: string[] = [];
  const specs = specsOf(host, problems);
  return names.map((name) => {
    const [, kind, id = ''] = NAME.exec(name) ?? [];
    const having = specs.filter(({ spec }) => spec.kind === kind && spec.devices.some((device) => device.name === id));
    const best = having.filter(({ directory }) => directory === having.at(-1)?.directory);
    const [found, another] = best;
    if (found === undefined) {
      const unread = problems.length === 0 ? '' : `, and these cannot be read: ${problems.join('; ')}`;
      throw unusable(name, `no spec in ${DIRECTORIES.join(' or ')} has it${unread}`);
    }
    if (another !== undefined) throw unusable(name, `${found.file} and ${another.file} both have it`);
    return deviceOf(name, id, found, host);
  });
}

function specsOf(host: Host, problems: string[]): readonly SpecFile[] {
  const specs: SpecFile[] = [];
  for (const directory of DIRECTORIES) {
    for (const name of host.list(directory).filter((one) => /\.(?:json|yaml)$/.test(one))) {
      const file = `${directory}/${name}`;
      try {
        const text = host.read(file);
        if (text !== undefined) specs.push({ directory, file, spec: parseSpec(file, text) });
      } catch (err) {
        problems.push(`${file}: ${reasonOf(err)}`);
      }
    }
  }
  return specs;
}

/** Throws what `JSON.parse`, js-yaml or zod say of a text that is no spec. */
function parseSpec(file: string, text: string): Spec {
  return SPEC.parse(file.endsWith('.json') ? JSON.parse(text) : load(text));
}

/** One line, for people. */
function reasonOf(err: unknown): string {
  if (err instanceof z.ZodError) {
    const [issue] = err.issues;
    return `${issue?.path.join('.')}: ${issue?.message}`;
  }
  const message = err instanceof Error ? err.message : String(err);
  return (message.split('\n', 1)[0] ?? '').slice(0, 200);
}

function deviceOf(name: string, id: string, { file, spec }: SpecFile, host: Host): CdiDevice {
  const nodesOf = (edits: Edits): readonly DeviceNode[] =>
    (edits?.deviceNodes ?? []).filter(({ type }) => type !== 'p').map((node) => nodeOf(name, node, host));
  const edits = spec.devices.filter((device) => device.name === id).map(({ containerEdits }) => containerEdits);
  const own = edits.flatMap(nodesOf);
  return {
    id,
    file,
    own,
    nodes: [...own, ...nodesOf(spec.containerEdits)],
    others: [...edits, spec.containerEdits].flatMap(othersIn),
    mounts: [...edits, spec.containerEdits].flatMap(mountsOf),
  };
}

/** Others than bind mounts show nothing of the host. */
const mountsOf = (edits: Edits): readonly CdiMount[] =>
  (edits?.mounts ?? [])
    .filter(({ type, hostPath }) => (!type || type === 'bind') && hostPath.startsWith('/'))
    .map(({ hostPath, containerPath }) => ({ hostPath, containerPath }));

const othersIn = (edits: Edits): readonly string[] => [
  ...(edits?.env ?? []).map((variable) => `environment ${variable.split('=', 1)[0]}`),
  ...(edits?.mounts ?? []).map(({ containerPath }) => `mount ${containerPath}`),
];

/** As runtimes fill in what a node leaves out (container-device-interface, pkg/cdi/container-edits_unix.go). */
function nodeOf(name: string, node: z.infer<typeof NODE>, host: Host): DeviceNode {
  const { path, type, major, minor } = node;
  const known =
    type && major ? { type: type === 'b' ? ('b' as const) : ('c' as const), major, minor: minor ?? 0 } : undefined;
  const { type: kind, major: majorNumber, minor: minorNumber } = known ?? hostDeviceOf(name, node, host);
  return {
    path,
    type: kind,
    major: majorNumber,
    minor: minorNumber,
    access: ['r', 'w', 'm'].filter((letter) => (node.permissions || 'rwm').includes(letter)).join(''),
    mode: (node.fileMode ?? 0o666) & 0o777,
    uid: node.uid ?? 0,
    gid: node.gid ?? 0,
  };
}

function hostDeviceOf(name: string, { path, hostPath }: z.infer<typeof NODE>, host: Host): ReturnType<Host['device']> {
  const [place, another] = host.paths(hostPath || path);
  if (place === undefined || another !== undefined || place.rest !== '') {
    throw unusable(name, `"${hostPath || path}" of the host must be a device node, is not`);
  }
  return host.device(place.hostPath);
}

function unusable(name: string, why: string): Error {
  return fail('NotAllocated', `Cannot find out the device nodes of CDI device "${name}": ${why}`);
}
