import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { SlaveRef } from '../../contract/device-mount.ts';
import type { AttachInput } from '../../contract/node-activities.ts';
import type { MountRequest, Signed, UnmountRequest } from '../../contract/requests.ts';
import { type PublicKey, signRequest } from '../../contract/signature.ts';
import type { PodView } from '../../node-worker/cluster/pod-view.ts';
import type { DeviceUser, KernelEngine } from '../../node-worker/kernel/engine.ts';
import { Changes } from '../../node-worker/kubelet/changes.ts';
import type { Allocation } from '../../node-worker/kubelet/checkpoint.ts';
import type { PreparedClaim } from '../../node-worker/kubelet/prepared-claims.ts';
import { NodeMetrics } from '../../node-worker/metrics.ts';
import type { NodeDependencies } from '../../node-worker/mounts/dependencies.ts';
import type { RuntimeContainer } from '../../node-worker/runtime/cri.ts';
import { Locks } from '../../node-worker/state/locks.ts';
import { FileMountStore } from '../../node-worker/state/mount-store.ts';
import { MemoryEngine } from './memory-engine.ts';
import { allocationOf } from './memory-host.ts';
import { addDriver } from './nvidia-tree.ts';
import { answerOfShares, VGPU, vgpuAnswer, vgpuWord } from './vgpu.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');

export const TARGET = { namespace: 'default', pod: 'web-0', podUid: 'web-uid', container: 'main' } as const;
/** One moment for all requests: equal ones have equal signatures. */
const NOW = new Date().toISOString();
/** They stay fresh for as long as tests run. */
const HOUR = 3_600;
export const FUSE_RESOURCE = 'hostdev.k8s.io/dev_fuse';

/** A node in memory with a target pod on it, whose container `c1` runs; its state lies in a directory of its own. */
export class MemoryNode {
  publicKeys: readonly PublicKey[] = [{ key: publicKey }];
  readonly engine = new MemoryEngine();
  readonly pods = new Map<string, PodView>();
  /** `Pod web-0 EndDeviceUsers: …` of each Event. */
  readonly events: string[] = [];
  readonly accepted = new Set<string>();
  readonly changes = new Changes([], () => undefined);
  readonly stateDir: string;
  /** Files stand for the device nodes of its /dev. */
  readonly hostRoot: string;
  allocations: Allocation[] = [];
  claims: PreparedClaim[] = [];
  /** Device ids by resource that the kubelet tells of pods, by name. */
  readonly podResources = new Map<string, ReadonlyMap<string, readonly string[]>>();
  /** When the last of all its slaves has begun to run. */
  lastSlaveStartMs = 0;
  container: RuntimeContainer | undefined = { id: 'c1', pid: 1, runtimeHandler: '', runtimeType: undefined };
  deps: NodeDependencies;

  private constructor(stateDir: string, store: FileMountStore) {
    this.stateDir = stateDir;
    this.hostRoot = join(stateDir, 'host');
    this.engine.hostRoot = this.hostRoot;
    mkdirSync(join(this.hostRoot, 'dev'), { recursive: true });
    for (const name of ['fuse', 'kvm']) writeFileSync(join(this.hostRoot, 'dev', name), '');
    this.engine.containers.set('c1', new Set());
    this.addPod({ name: TARGET.pod, uid: TARGET.podUid, ownerUids: [] });
    this.deps = this.#dependencies(store);
  }

  static async make(): Promise<MemoryNode> {
    const stateDir = mkdtempSync(join(tmpdir(), 'node-'));
    return new MemoryNode(stateDir, await FileMountStore.open(stateDir));
  }

  /** As after a kill: only what lies on the disk and in the kernel stays. */
  async restart(): Promise<void> {
    this.deps = this.#dependencies(await FileMountStore.open(this.stateDir));
  }

  remove(): void {
    rmSync(this.stateDir, { recursive: true });
  }

  addPod(pod: Pick<PodView, 'name' | 'uid'> & Partial<PodView>): void {
    const whole = {
      namespace: TARGET.namespace,
      nodeName: 'n1',
      ownerUids: [TARGET.podUid],
      running: true,
      mount: 'm1',
      labels: {},
      annotations: {},
      claims: [],
      end: undefined,
      ...pod,
    };
    this.pods.set(whole.name, whole);
  }

  /** A slave to which the kubelet has given what lies at `path`. */
  addSlave(
    name: string,
    deviceIds: readonly string[] = ['/dev/fuse'],
    mount = 'm1',
    path = '/dev/fuse',
    resource = FUSE_RESOURCE,
  ): SlaveRef {
    const uid = `${name}-uid`;
    this.addPod({ name, uid, mount });
    this.accepted.add(uid);
    this.engine.containers.set(`${uid}-container`, new Set([path]));
    const devices = [{ containerPath: path, hostPath: path, permissions: 'rw' }];
    this.allocations.push({
      container: 'slave',
      resource,
      devices,
      mounts: [],
      envs: {},
      annotations: {},
      cdiDevices: [],
      podUid: uid,
      deviceIds,
    });
    return { namespace: TARGET.namespace, name, uid };
  }

  /** Gives it a driver and two GPUs, see nvidia-tree.ts. */
  addGpus(): void {
    addDriver(this.hostRoot);
    for (const name of ['nvidia0', 'nvidia1', 'nvidiactl', 'nvidia-uvm']) {
      writeFileSync(join(this.hostRoot, 'dev', name), '');
    }
  }

  /** A slave to which the kubelet has given GPUs, which only the environment names: `GPU-…`, or a share of one, `GPU-…::0`. */
  addGpuSlave(name: string, uuids: readonly string[], mount = 'm1'): SlaveRef {
    const uid = `${name}-uid`;
    this.addPod({ name, uid, mount });
    this.accepted.add(uid);
    this.engine.containers.set(`${uid}-container`, new Set());
    const envs = { NVIDIA_VISIBLE_DEVICES: uuids.map((uuid) => uuid.replace(/::.*/, '')).join(',') };
    this.allocations.push({ ...allocationOf('nvidia.com/gpu', uuids, { envs }), podUid: uid });
    return { namespace: TARGET.namespace, name, uid };
  }

  /** A slave that Volcano has put on these GPUs, each with 2000 MiB and half of its cores; the kubelet has picked others. */
  addVgpuSlave(name: string, uuids: readonly string[], mount = 'm1'): SlaveRef {
    const uid = `${name}-uid`;
    this.addPod({ name, uid, mount, annotations: { 'volcano.sh/vgpu-ids-new': vgpuWord(uuids) } });
    this.accepted.add(uid);
    this.engine.containers.set(`${uid}-container`, new Set());
    const picked = uuids.map((_uuid, index) => `GPU-0-${name}-${index}`);
    this.allocations.push({ ...allocationOf(VGPU, picked, vgpuAnswer(uid, uuids)), podUid: uid });
    return { namespace: TARGET.namespace, name, uid };
  }

  /** The target has had 1000 MiB and 30 percent of these GPUs from its start. */
  addOwnVgpu(uuids: readonly string[]): void {
    const { podUid, container } = TARGET;
    const shares = uuids.map((uuid) => ({ uuid, memory: 1000, cores: 30 }));
    const answer = answerOfShares(podUid, shares, container);
    const picked = uuids.map((_uuid, index) => `GPU-0-own-${index}`);
    this.allocations.push({ ...allocationOf(VGPU, picked, answer), podUid, container });
  }

  /** What is requested until now is only gone on with. */
  retireKeys(): void {
    this.publicKeys = this.publicKeys.map(({ key }) => ({ key, retiredAtMs: Date.now() }));
  }

  /** Ends a pod the way kube-apiserver shows it. */
  endPod(name: string, end = 'it is being deleted'): void {
    const pod = this.pods.get(name);
    if (pod !== undefined) this.pods.set(name, { ...pod, end });
    this.changes.notify();
  }

  #dependencies(store: FileMountStore): NodeDependencies {
    return {
      node: 'n1',
      clusterName: 'test',
      publicKeys: () => this.publicKeys,
      pods: { get: async (_namespace, name) => this.pods.get(name) },
      events: {
        warn: async ({ kind, name }, reason, message) => void this.events.push(`${kind} ${name} ${reason}: ${message}`),
      },
      kubelet: {
        allocations: async () => [...this.allocations],
        claims: async () => [...this.claims],
        accepted: async (uid) => this.accepted.has(uid),
      },
      podResources: {
        deviceIds: async (_namespace, pod) => this.podResources.get(pod),
      },
      containers: {
        running: async () => this.container,
        everyRunning: async () =>
          this.container === undefined ? [] : [{ ...this.container, podUid: TARGET.podUid, name: TARGET.container }],
        allRunning: async (podUid) => {
          const id = `${podUid}-container`;
          return this.engine.containers.has(id) ? [{ id, pid: 2, runtimeHandler: '', runtimeType: undefined }] : [];
        },
      },
      engine: this.engine as unknown as KernelEngine,
      store,
      locks: new Locks(),
      lastSlaveStartMs: () => this.lastSlaveStartMs,
      slaveRuns: (uid) => [...this.pods.values()].find((pod) => pod.uid === uid)?.running,
      endOfSlave: (uid) => [...this.pods.values()].find((pod) => pod.uid === uid)?.end,
      changes: this.changes,
      hostRoot: this.hostRoot,
      driverRoots: [''],
      log: pino({ enabled: false }),
      metrics: new NodeMetrics(() => store.records()),
    };
  }
}

/** A process of container `c1`, and its device. */
export const USER: DeviceUser = {
  pid: 7,
  startTime: '1',
  command: 'cat',
  containerInit: false,
  via: 'fd',
  device: 'c 10:229',
};

/** For steps that nothing keeps waiting. A busy machine may stand still for seconds. */
export const inTime = (): AbortSignal => AbortSignal.timeout(60_000);

/** Container `c1` is replaced by `id`, as when it restarts. */
export function restartContainer(node: MemoryNode, id: string): void {
  node.engine.containers.delete('c1');
  node.engine.containers.set(id, new Set());
  node.container = { id, pid: 2, runtimeHandler: '', runtimeType: undefined };
}

export function mountRequest(change: Partial<MountRequest> = {}): Signed<MountRequest> {
  const request: MountRequest = {
    kind: 'mount',
    cluster: 'test',
    name: 'm1',
    target: TARGET,
    deviceType: 'HOSTDEV',
    resources: { [FUSE_RESOURCE]: '1' },
    labels: {},
    annotations: {},
    patches: [],
    queue: false,
    onRestart: 'reapply',
    user: { name: 'jane' },
    requestedAt: NOW,
    deadlineSeconds: HOUR,
    ...change,
  };
  return signRequest(request, privateKey);
}

export function unmountRequest(change: Partial<UnmountRequest> = {}): Signed<UnmountRequest> {
  const request: UnmountRequest = {
    kind: 'unmount',
    cluster: 'test',
    id: 'r1',
    target: TARGET,
    deviceType: 'HOSTDEV',
    force: false,
    user: { name: 'jane' },
    requestedAt: NOW,
    deadlineSeconds: HOUR,
    ...change,
  };
  return signRequest(request, privateKey);
}

export function attachInput(slave: SlaveRef, change: Partial<MountRequest> = {}): AttachInput {
  return { signed: mountRequest(change), slaves: [slave] };
}
