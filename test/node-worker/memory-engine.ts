import { basename } from 'node:path';
import { fail } from '../../contract/failures.ts';
import { deviceKey } from '../../node-worker/cgroup/rule.ts';
import type { ContainerHandle, DeviceUser, Grant, KernelEngine } from '../../node-worker/kernel/engine.ts';
import { limitsIn, type VgpuLimits } from '../../node-worker/kernel/gpu-limits.ts';

const NUMBERS: Readonly<Record<string, readonly [number, number]>> = {
  '/dev/fuse': [10, 229],
  '/dev/kvm': [10, 232],
  '/dev/nvidia0': [195, 0],
  '/dev/nvidia1': [195, 1],
  '/dev/nvidiactl': [195, 255],
  '/dev/nvidia-uvm': [511, 0],
  '/dev/davinci0': [420, 0],
  '/dev/davinci_manager': [422, 0],
};

/** Containers kept in memory: what each may use, and who uses it. */
export class MemoryEngine
  implements
    Pick<
      KernelEngine,
      | 'openContainer'
      | 'plan'
      | 'planFiles'
      | 'grant'
      | 'revoke'
      | 'usersOf'
      | 'killUsers'
      | 'hostDevice'
      | 'drifted'
      | 'devicesOf'
      | 'hasAnyFile'
    >
{
  /** Paths of device nodes that a container can use, by container id; a container that is not in here is gone. */
  readonly containers = new Map<string, Set<string>>();
  readonly users = new Map<string, DeviceUser[]>();
  readonly killed: number[] = [];
  /** Of each call to end users, how long those had between SIGTERM and SIGKILL, in milliseconds. */
  readonly graces: number[] = [];
  /** Processes that the kernel does not end although they were killed. */
  readonly stuck = new Set<number>();
  /** What containers can do with every device by themselves. */
  accessBefore = '';
  /** Told before each change, so that a test can act in the middle of a step, or fail it. */
  before: (change: 'grant' | 'revoke', grant: Grant) => void | Promise<void> = () => undefined;
  opened = 0;
  /** Files of every container; undefined where none can be looked at. */
  files: ReadonlySet<string> | undefined = new Set();
  /** Paths of the host's files that are mounted, by container id. */
  readonly mounted = new Map<string, Set<string>>();
  /** Of vGPUs, by container id. */
  readonly limits = new Map<string, VgpuLimits>();
  /** Why no file can be mounted. */
  filesRefused: string | undefined;
  /** Where the files of the host's device nodes are. */
  hostRoot = '';

  async openContainer({ containerId }: { readonly containerId: string }): Promise<ContainerHandle> {
    if (!this.containers.has(containerId)) throw fail('ContainerNotReady', `Cannot find container "${containerId}"`);
    this.opened++;
    return {
      containerId,
      pid: 1,
      cgroup: { version: 2, path: `/${containerId}`, initPath: `/${containerId}` },
      isAlive: () => this.containers.has(containerId),
      close: () => {
        this.opened--;
      },
    };
  }

  plan: KernelEngine['plan'] = async (container, owner, devices) => ({
    owner,
    containerId: container.containerId,
    devices: devices.map((device) => ({
      ...device,
      accessBefore: this.accessBefore,
      listedBefore: {},
      node: 'made',
      madeDirectories: [],
    })),
  });

  planFiles: KernelEngine['planFiles'] = async (_container, files) => {
    if (this.filesRefused !== undefined) throw fail('ContainerUnsupported', this.filesRefused);
    return {
      files: files.flatMap(({ path, hostPath }) => {
        const made = { name: 'made', madeDirectories: [] } as const;
        const file = { path, kind: 'mount', from: hostPath, identity: hostPath, ...made } as const;
        // By the names that libraries have by custom: nothing is in their files here.
        const soname = /^(.+\.so\.\d+)\.[\d.]+$/.test(path) ? path.replace(/\.so\.[\d.]+$/, '.so.1') : undefined;
        return soname === undefined ? [file] : [file, { path: soname, kind: 'link', from: basename(path), ...made }];
      }),
      warnings: [],
    };
  };

  async grant(container: ContainerHandle, grant: Grant, others: readonly Grant[]): ReturnType<KernelEngine['grant']> {
    await this.before('grant', grant);
    this.#limit(container, grant, [grant, ...others]);
    const there = this.#of(container);
    const nodesMade = grant.devices.map(({ path }) => path).filter((path) => !there.has(path));
    for (const path of nodesMade) there.add(path);
    const mounted = this.#mountedIn(container);
    const filesMade = (grant.files ?? []).map(({ path }) => path).filter((path) => !mounted.has(path));
    for (const path of filesMade) mounted.add(path);
    return { rulesChanged: nodesMade.length, nodesMade, ...(grant.files !== undefined && { filesMade }) };
  }

  async revoke(container: ContainerHandle, grant: Grant, others: readonly Grant[]): ReturnType<KernelEngine['revoke']> {
    await this.before('revoke', grant);
    this.#limit(container, grant, others);
    const kept = new Set(others.flatMap(({ devices }) => devices.map(({ path }) => path)));
    for (const { path } of grant.devices) if (!kept.has(path)) this.#of(container).delete(path);
    const filesKept = new Set(others.flatMap(({ files = [] }) => files.map(({ path }) => path)));
    for (const { path } of grant.files ?? []) if (!filesKept.has(path)) this.#mountedIn(container).delete(path);
    return { rulesChanged: 1, nodesRemoved: [], stillAllowed: [] };
  }

  async drifted(container: ContainerHandle, grants: readonly Grant[]): Promise<boolean> {
    const there = this.#of(container);
    const mounted = this.#mountedIn(container);
    return grants.some(
      ({ devices, files = [] }) =>
        devices.some(({ path }) => !there.has(path)) || files.some(({ path }) => !mounted.has(path)),
    );
  }

  usersOf: KernelEngine['usersOf'] = async ({ containerId }, devices) => {
    const keys = new Set(devices.map(deviceKey));
    return (this.users.get(containerId) ?? []).filter(({ device }) => keys.has(device));
  };

  killUsers: KernelEngine['killUsers'] = async (container, devices, { graceMs }) => {
    this.graces.push(graceMs);
    const users = await this.usersOf(container, devices);
    this.killed.push(...users.map(({ pid }) => pid));
    const ended = users.filter(({ pid }) => !this.stuck.has(pid));
    const left = (this.users.get(container.containerId) ?? []).filter((user) => !ended.includes(user));
    this.users.set(container.containerId, left);
    return users;
  };

  hostDevice: KernelEngine['hostDevice'] = (path) => {
    const [major, minor] = NUMBERS[path.slice(this.hostRoot.length)] ?? [];
    if (major === undefined || minor === undefined) throw fail('NotFound', `Cannot use host device "${path}"`);
    return { type: 'c', major, minor, mode: 0o666, uid: 0, gid: 0 };
  };

  hasAnyFile: KernelEngine['hasAnyFile'] = async (container, paths) => {
    if (this.files === undefined) throw fail('ContainerStuck', 'Cannot look');
    const mounted = this.#mountedIn(container);
    return paths.some((path) => this.files?.has(path) || mounted.has(path));
  };

  devicesOf: KernelEngine['devicesOf'] = async (container) =>
    [...this.#of(container)].map((path) => ({ ...this.hostDevice(`${this.hostRoot}${path}`), path, access: 'rw' }));

  #limit({ containerId }: ContainerHandle, { limits }: Grant, grants: readonly Grant[]): void {
    if (limits !== undefined) this.limits.set(containerId, limitsIn(limits, grants));
  }

  #mountedIn({ containerId }: ContainerHandle): Set<string> {
    const mounted = this.mounted.get(containerId) ?? new Set();
    this.mounted.set(containerId, mounted);
    return mounted;
  }

  #of({ containerId }: ContainerHandle): Set<string> {
    const paths = this.containers.get(containerId);
    if (paths === undefined) throw fail('ContainerNotReady', `Cannot change container "${containerId}": it has ended`);
    return paths;
  }
}
