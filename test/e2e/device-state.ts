import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { encode } from '../../node-worker/cgroup/instruction.ts';
import { attachedPrograms, programInfo, withProgram } from '../../node-worker/kernel/bpf.ts';
import { cgroupTree } from '../../node-worker/kernel/cgroup-tree.ts';
import { readDeviceListText } from '../../node-worker/kernel/cgroup-v1.ts';
import { withCgroup } from '../../node-worker/kernel/cgroup-v2.ts';
import { hasCode } from '../../node-worker/kernel/syscall.ts';
import { engine } from '../kernel/engine.ts';
import { find } from './kube.ts';
import { NAMESPACE } from './lane.ts';
import { podPath, podReady } from './pods.ts';
import { until } from './until.ts';

/**
 * What decides over the devices of a container, as the kernel has it: no word of the product is asked. Two states are equal
 * when every rule byte, program byte and node is; they say nothing of ids, so that states of two containers of one pod
 * spec are equal too.
 */
export interface DeviceState {
  /** Of the container's cgroup (``) and each below it. v1: lines of devices.list; v2: attached programs, in their order. */
  readonly rules: Readonly<Record<string, readonly string[]>>;
  /** `ls -lAR /dev` inside, as far as its file system goes: mode, owner, device number or link, path. */
  readonly nodes: readonly string[];
  /** What is mounted on /dev and below. */
  readonly mounts: readonly string[];
}

export interface ContainerOf {
  readonly namespace?: string;
  /** The first one when not given. */
  readonly container?: string;
}

interface PodStatus {
  readonly status: { readonly containerStatuses?: readonly { readonly name: string; readonly containerID?: string }[] };
}

/** A change of a container takes some milliseconds, as a read does. */
const MAX_READS = 20;

/** Id of a pod's container, without the runtime's prefix. Throws when the container has none yet. */
export async function containerIdOf(
  pod: string,
  { namespace = NAMESPACE, container }: ContainerOf = {},
): Promise<string> {
  const object = await find<PodStatus>(podPath(pod, namespace));
  const statuses = object?.status.containerStatuses ?? [];
  const id = statuses.find(({ name }) => container === undefined || name === container)?.containerID;
  if (id === undefined) throw new Error(`Cannot find the container of pod ${namespace}/${pod}`);
  return id.replace(/^[a-z-]+:\/\//, '');
}

/** The state of a running container. Throws when it has ended, and when it changes faster than it can be read. */
export async function deviceState(pod: string, which: ContainerOf = {}): Promise<DeviceState> {
  const containerId = await containerIdOf(pod, which);
  for (let attempt = 1; ; attempt++) {
    try {
      return await stateOf(containerId);
    } catch (err) {
      // A program or node that was listed has been replaced before it was read.
      if (!hasCode(err, 'ENOENT') || attempt === MAX_READS) throw err;
    }
  }
}

/** Pid of the container's first process in the host's pid namespace. */
export async function containerPid(pod: string, which: ContainerOf = {}): Promise<number> {
  const handle = await engine.openContainer({ containerId: await containerIdOf(pod, which) });
  handle.close();
  return handle.pid;
}

/** Kills the container's first process, and waits until the kubelet has started another container. */
export async function restartContainer(pod: string): Promise<void> {
  const id = await containerIdOf(pod);
  process.kill(await containerPid(pod), 'SIGKILL');
  await until(`a new container of ${pod}`, async () => (await containerIdOf(pod)) !== id);
  await podReady(pod);
}

/** All that is mounted in the container, in the words of `DeviceState.mounts`. */
export async function mountsIn(pod: string, which: ContainerOf = {}): Promise<readonly string[]> {
  return mountsOf(await containerPid(pod, which));
}

async function stateOf(containerId: string): Promise<DeviceState> {
  const handle = await engine.openContainer({ containerId });
  try {
    const { version, path } = handle.cgroup;
    const rulesOf = version === 1 ? listOf : programsOf;
    const rules = cgroupTree(path).map((cgroup) => [relative(path, cgroup), rulesOf(cgroup)]);
    const dev = `/proc/${handle.pid}/root/dev`;
    return {
      rules: Object.fromEntries(rules),
      nodes: nodesBelow(dev, lstatSync(dev).dev).map((line) => line.replaceAll(dev, '/dev')),
      mounts: mountsOf(handle.pid).filter((line) => /^\/dev[ /]/.test(line)),
    };
  } finally {
    handle.close();
  }
}

const listOf = (cgroup: string): readonly string[] => readDeviceListText(cgroup).split('\n').filter(Boolean);

function programsOf(cgroup: string): readonly string[] {
  const { ids, flags } = withCgroup(cgroup, (fd) => attachedPrograms(fd));
  return ids.map((id) => {
    const { name, tag, dump } = withProgram(id, programInfo);
    const bytes = dump === undefined ? 'hidden' : Buffer.from(encode(dump)).toString('hex');
    return `${name} flags ${flags} tag ${tag} ${bytes}`;
  });
}

function nodesBelow(directory: string, fileSystem: number): readonly string[] {
  return readdirSync(directory)
    .toSorted()
    .flatMap((name) => {
      const path = join(directory, name);
      const { mode, uid, gid, rdev, dev } = lstatSync(path);
      const kind = (mode & 0o170000) === 0o120000 ? `-> ${readlinkSync(path)}` : `${rdev >> 8}:${rdev & 0xff}`;
      const line = `${mode.toString(8)} ${uid}:${gid} ${kind} ${path}`;
      const isOwn = (mode & 0o170000) === 0o040000 && dev === fileSystem;
      return [line, ...(isOwn ? nodesBelow(path, fileSystem) : [])];
    });
}

/** Mount point, its options and the type of file system; ids and folders are other ones in each container. */
function mountsOf(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , , , point]) => point !== undefined)
    .map((fields) => [...fields.slice(4, 6), fields[fields.indexOf('-') + 1]].join(' '))
    .toSorted();
}
