import type { MountRef } from '../../contract/node-activities.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { NodeDependencies } from '../mounts/dependencies.ts';
import { keyOf, type MountRecord, type Notice } from '../state/mount-record.ts';

export interface AllocationGuardOptions {
  readonly deps: Pick<NodeDependencies, 'kubelet' | 'store' | 'changes' | 'node' | 'log'>;
  /** Takes a mount back and tells its workflow why. */
  readonly release: (mount: MountRef, why: string, notice: Notice) => void;
  /** At the latest after this time the checkpoint is looked at again, in milliseconds; a change of it wakes at once. */
  readonly pollMs: number;
}

/**
 * Takes a device back as soon as the kubelet gives it to another pod. Usually its slave was seen to end long before; this is for
 * a node worker that kube-apiserver does not reach. The kubelet writes its checkpoint before it starts the other pod.
 */
export class AllocationGuard {
  readonly #options: AllocationGuardOptions;
  readonly #stop = new AbortController();
  #seen: readonly Allocation[] | undefined;
  #problem = '';
  #done: Promise<void> | undefined;

  constructor(options: AllocationGuardOptions) {
    this.#options = options;
  }

  start(): void {
    this.#done ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  /** Looks once. */
  async look(): Promise<void> {
    const { kubelet, store, log } = this.#options.deps;
    const records = store.records().filter(({ phase }) => phase !== 'revoked');
    if (records.length === 0) return;
    try {
      const allocations = await kubelet.allocations();
      // The same file: an attach since then has looked at it itself, after its grant.
      if (allocations !== this.#seen) for (const record of records) this.#check(record, allocations);
      this.#seen = allocations;
      this.#problem = '';
    } catch (err) {
      const problem = err instanceof Error ? err.message : String(err);
      if (problem !== this.#problem) log.warn({ err }, 'cannot tell whether devices were given to others');
      this.#problem = problem;
    }
  }

  async #run(): Promise<void> {
    const { changes } = this.#options.deps;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const seen = changes.count;
      await this.look();
      await changes.next(seen, this.#options.pollMs, signal).catch(() => undefined);
    }
  }

  #check({ mount, slaves, devices }: MountRecord, allocations: readonly Allocation[]): void {
    const { deps, release } = this.#options;
    const own = new Set(slaves.map(({ uid }) => uid));
    const taken = allocations.find(
      ({ podUid, resource, deviceIds }) =>
        !own.has(podUid) && devices.some((device) => device.resource === resource && deviceIds.includes(device.id)),
    );
    if (taken === undefined) return;
    const why = `the kubelet has given a device of ${taken.resource} to the pod ${taken.podUid}`;
    deps.log.error({ mount: keyOf(mount), why }, 'a device was given to another pod while it is attached');
    const argument = { by: `node worker of ${deps.node}`, reason: `NotAllocated: ${why}` };
    release(mount, why, { signal: 'release', argument });
  }
}
