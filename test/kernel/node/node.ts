import type { SlaveRef } from '../../../contract/device-mount.ts';
import type { MountRequest } from '../../../contract/requests.ts';
import { Healer } from '../../../node-worker/guards/healer.ts';
import { SlaveGuard } from '../../../node-worker/guards/slave-guard.ts';
import type { NodeDependencies } from '../../../node-worker/mounts/dependencies.ts';
import type { PlacedContainer, RuntimeContainer } from '../../../node-worker/runtime/cri.ts';
import type { Notice } from '../../../node-worker/state/mount-record.ts';
import { attach } from '../../../node-worker/steps/attach.ts';
import { attachInput, inTime, MemoryNode, TARGET } from '../../node-worker/memory-node.ts';
import { type StartOptions, startContainer, type TestContainer } from '../container.ts';
import { engine } from '../engine.ts';

/** A node worker with the real kernel and real containers; only kube-apiserver and the kubelet are in memory. */
export class KernelNode {
  readonly memory: MemoryNode;
  readonly told: Notice[] = [];
  readonly #containers: TestContainer[] = [];
  #healer: Healer | undefined;
  #guard: SlaveGuard | undefined;
  /** Answers for kube-apiserver from the next restart on. */
  reader: NodeDependencies['pods'] | undefined;
  target: TestContainer | undefined;
  slave: TestContainer | undefined;

  private constructor(memory: MemoryNode) {
    this.memory = memory;
    this.#useKernel();
  }

  #useKernel(): void {
    const { memory } = this;
    const running = async (): Promise<RuntimeContainer | undefined> => this.target && runtimeView(this.target);
    const allRunning = async (): Promise<readonly RuntimeContainer[]> => (this.slave ? [runtimeView(this.slave)] : []);
    const everyRunning = async (): Promise<readonly PlacedContainer[]> =>
      this.target ? [{ ...runtimeView(this.target), podUid: TARGET.podUid, name: TARGET.container }] : [];
    const containers = { running, allRunning, everyRunning };
    const { reader } = this;
    memory.deps = { ...memory.deps, engine, hostRoot: '', containers, ...(reader && { pods: reader }) };
  }

  /** As after a kill: what it knew is gone, files and containers are as they were. */
  async restart(): Promise<void> {
    await this.#stopWatching();
    await this.memory.restart();
    this.#useKernel();
  }

  /** Goes on with what the worker before has begun, as far as that can be known now. */
  async resume(): Promise<void> {
    this.#guardNow().resume();
    // Reads of a pod, in memory.
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    await this.#guardNow().idle();
  }

  static async make(): Promise<KernelNode> {
    return new KernelNode(await MemoryNode.make());
  }

  get deps(): NodeDependencies {
    return this.memory.deps;
  }

  async start(options: StartOptions): Promise<TestContainer> {
    const container = await startContainer(options);
    this.#containers.push(container);
    return container;
  }

  async end(container: TestContainer): Promise<void> {
    this.#containers.splice(this.#containers.indexOf(container), 1);
    await container.stop();
  }

  async attach(slave: SlaveRef, change: Partial<MountRequest> = {}): Promise<void> {
    await attach(this.deps, attachInput(slave, change), { signal: inTime() });
  }

  /** Looks at the containers as the healer does every second, and waits for what follows. */
  async look(): Promise<void> {
    const guard = this.#guardNow();
    this.#healer ??= new Healer({
      deps: this.deps,
      tellOwner: this.#tellOwner,
      release: (mount, why, notice) => guard.release(mount, why, notice),
      periodMs: 1_000_000,
      slaveDeadlineMs: 60_000,
    });
    this.#healer.look();
    await this.#healer.settled();
    await guard.idle();
  }

  readonly #tellOwner = async (_mount: unknown, notice: Notice): Promise<void> => void this.told.push(notice);

  #guardNow(): SlaveGuard {
    return (this.#guard ??= new SlaveGuard({ deps: this.deps, tellOwner: this.#tellOwner, retryMs: 10 }));
  }

  async #stopWatching(): Promise<void> {
    await this.#healer?.stop();
    await this.#guard?.stop();
    this.#healer = undefined;
    this.#guard = undefined;
  }

  async stop(): Promise<void> {
    await this.#stopWatching();
    try {
      await Promise.all(this.#containers.map((container) => container.stop()));
    } finally {
      this.memory.remove();
    }
  }
}

function runtimeView({ id, pid }: TestContainer): RuntimeContainer {
  return { id, pid, runtimeHandler: '', runtimeType: 'io.containerd.runc.v2' };
}
