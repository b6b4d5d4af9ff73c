import type { MountRef } from '../../contract/node-activities.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { PreparedClaim } from '../kubelet/prepared-claims.ts';
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
 * a node worker that kube-apiserver does not reach. The kubelet writes its checkpoints before it starts the other pod.
 */
export class AllocationGuard {
  readonly #options: AllocationGuardOptions;
  readonly #stop = new AbortController();
  /** By what was read. */
  readonly #seen = new Map<string, readonly unknown[]>();
  readonly #problems = new Map<string, string>();
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
    const { kubelet, store } = this.#options.deps;
    const records = store.records().filter(({ phase }) => phase !== 'revoked');
    if (records.length === 0) return;
    await this.#compare('allocations', records, () => kubelet.allocations(), takenIn);
    await this.#compare('claims', records, () => kubelet.claims(), claimedAwayIn);
  }

  /** One that cannot be read does not keep the guard from the other. */
  async #compare<Entry>(
    what: 'allocations' | 'claims',
    records: readonly MountRecord[],
    read: () => Promise<readonly Entry[]>,
    takenIn: (entries: readonly Entry[], record: MountRecord) => string | undefined,
  ): Promise<void> {
    try {
      const entries = await read();
      // The same file: an attach since then has looked at it itself, after its grant.
      if (entries !== this.#seen.get(what)) for (const record of records) this.#end(record, takenIn(entries, record));
      this.#seen.set(what, entries);
      this.#problems.delete(what);
    } catch (err) {
      const problem = err instanceof Error ? err.message : String(err);
      if (problem !== this.#problems.get(what))
        this.#options.deps.log.warn({ err }, 'cannot tell whether devices were given to others');
      this.#problems.set(what, problem);
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

  #end({ mount }: MountRecord, why: string | undefined): void {
    if (why === undefined) return;
    const { deps, release } = this.#options;
    deps.log.error({ mount: keyOf(mount), why }, 'a device was given to another pod while it is attached');
    const argument = { by: `node worker of ${deps.node}`, reason: `NotAllocated: ${why}` };
    release(mount, why, { signal: 'release', argument });
  }
}

/** Says which device of a mount a device plugin serves to another pod. */
function takenIn(allocations: readonly Allocation[], { slaves, devices }: MountRecord): string | undefined {
  const own = new Set(slaves.map(({ uid }) => uid));
  const taken = allocations.find(
    ({ podUid, resource, deviceIds }) =>
      !own.has(podUid) &&
      devices.some((device) => device.resource === resource && deviceIds.includes(device.kubeletId ?? device.id)),
  );
  return taken && `the kubelet has given a device of ${taken.resource} to the pod ${taken.podUid}`;
}

/**
 * Says which device of a mount a claim of another pod has. As long as the slave's own claim has it, too, the two share it: by one
 * claim, or by one with admin access.
 */
function claimedAwayIn(claims: readonly PreparedClaim[], { slaves, devices }: MountRecord): string | undefined {
  const own = new Set(slaves.map(({ uid }) => uid));
  for (const { id } of devices) {
    const having = claims.filter((claim) => claim.devices.some((device) => device.id === id));
    const [other] = having;
    if (other === undefined || having.some(({ podUids }) => podUids.some((uid) => own.has(uid)))) continue;
    return `the kubelet has given ${id} to ${other.podUids.map((uid) => `the pod ${uid}`).join(', ') || 'another claim'}`;
  }
  return undefined;
}
