/** A target as kube-apiserver, the kernel and its witness have it. */
export interface SeenTarget {
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly containerId: string;
  /** Rules, nodes and mounts that a twin without a device does not have, or that it has and this one lacks. */
  readonly beside: readonly string[];
  /** Whether its witness can open the exclusive device now; `undefined` when it does not try at the moment. */
  readonly could: boolean | undefined;
}

export interface SeenSlave {
  readonly name: string;
  readonly uid: string;
  readonly mount: string;
  readonly targetUids: readonly string[];
  readonly ending: boolean;
}

/** A checkpoint file of a node worker, read as any JSON. */
export interface SeenRecord {
  readonly node: string;
  readonly mount: string;
  readonly phase: string;
  readonly containerId: string;
  readonly slaveUids: readonly string[];
  /** Of device nodes and of files of the node, in the container. */
  readonly paths: readonly string[];
}

/** A DeviceMount as kube-apiserver shows it. */
export interface SeenObject {
  readonly mount: string;
  /** Absent as long as nobody has written one. */
  readonly phase: string | undefined;
}

/** Everything that there is of mounts, asked of kube-apiserver, the files of nodes, Temporal, the kernel and /proc. */
export interface Snapshot {
  readonly targets: readonly SeenTarget[];
  readonly slaves: readonly SeenSlave[];
  readonly records: readonly SeenRecord[];
  readonly objects: readonly SeenObject[];
  /** IDs of open workflows, but for the reconciler's and the one that holds the name of the cluster. */
  readonly workflows: readonly string[];
}

const EXCLUSIVE = '/dev/fuse';
const ENDS: readonly (string | undefined)[] = ['Released', 'Failed'];

const mountOf = (workflow: string): string | undefined => /^mount\/local\/default\/(.+)$/.exec(workflow)?.[1];

/** What does not agree, in words; empty when each thing belongs to one living mount, and each mount has all of it. */
export function problemsIn({ targets, slaves, records, objects, workflows }: Snapshot): string[] {
  const living = new Set(workflows.flatMap((id) => mountOf(id) ?? []));
  return [
    ...workflows.filter((id) => mountOf(id) === undefined).map((id) => `workflow ${id} is open`),
    ...slaves.filter(({ mount }) => !living.has(mount)).map(({ name }) => `slave ${name} is there without a mount`),
    ...records
      .filter(({ mount }) => !living.has(mount))
      .map(({ node, mount }) => `${node} has a record of ${mount}, which has ended`),
    ...objects
      .filter(({ mount, phase }) => !living.has(mount) && !ENDS.includes(phase))
      .map(({ mount, phase }) => `mount ${mount} has ended, and is shown as ${phase}`),
    ...[...living].flatMap((mount) => [
      ...problemsOf(mount, targets, slaves, records),
      ...problemsOfObject(mount, objects),
    ]),
    ...targets.flatMap((target) => problemsOfTarget(target, records)),
  ];
}

function problemsOf(
  mount: string,
  targets: readonly SeenTarget[],
  slaves: readonly SeenSlave[],
  records: readonly SeenRecord[],
): string[] {
  const [slave, ...more] = slaves.filter((each) => each.mount === mount);
  const [record, ...others] = records.filter((each) => each.mount === mount);
  if (slave === undefined) return [`mount ${mount} is open without a slave`];
  if (record === undefined) return [`mount ${mount} is open without a record on a node`];
  if (more.length + others.length > 0) return [`mount ${mount} has more than one slave or record`];
  const target = targets.find(({ uid }) => slave.targetUids.includes(uid));
  if (target === undefined) return [`mount ${mount} is open without its target`];
  return [
    ...(slave.ending ? [`slave ${slave.name} of mount ${mount} is ending`] : []),
    ...(record.slaveUids.includes(slave.uid) ? [] : [`the record of ${mount} does not name its slave`]),
    ...(record.phase === 'attached' ? [] : [`the record of ${mount} says ${record.phase}`]),
    ...(record.node === target.node
      ? []
      : [`the record of ${mount} is on ${record.node}, its target on ${target.node}`]),
    ...(record.containerId === target.containerId ? [] : [`the record of ${mount} names another container`]),
  ];
}

function problemsOfObject(mount: string, objects: readonly SeenObject[]): string[] {
  const object = objects.find((each) => each.mount === mount);
  if (object === undefined) return [`mount ${mount} is open and not shown`];
  return object.phase === 'Mounted' ? [] : [`mount ${mount} is open and is shown as ${object.phase}`];
}

/** What is in the container has to be what the records say, neither less nor more. */
function problemsOfTarget(
  { name, node, containerId, beside, could }: SeenTarget,
  records: readonly SeenRecord[],
): string[] {
  const paths = records
    .filter((record) => record.node === node && record.containerId === containerId)
    .flatMap((record) => record.paths);
  const extra =
    paths.length === 0
      ? beside
      : beside.filter((line) => /^. mount | \/dev\//.test(line) && !paths.some((path) => isOf(path, line)));
  const missing = paths.filter((path) => !beside.some((line) => isOf(path, line)));
  const isWrong = could !== undefined && could !== paths.includes(EXCLUSIVE);
  return [
    ...extra.map((line) => `${name} has "${line}" without a mount`),
    ...missing.map((path) => `${name} lacks ${path}, which is mounted`),
    ...(isWrong ? [`${name} can ${could ? '' : 'not '}open ${EXCLUSIVE}`] : []),
  ];
}

/** `+ node 20666 0:0 10:229 /dev/fuse`, `+ mount /usr/lib/libcuda.so.1 ro,nosuid ext4`. */
const isOf = (path: string, line: string): boolean => `${line} `.includes(` ${path} `);
