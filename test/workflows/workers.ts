import { type NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import type { TemporalAccess } from '../../process/temporal-access.ts';
import { connectTemporal } from '../../workflows/temporal.ts';

/** Longer than any worker takes to stop on a busy machine. */
const FORCE_MS = 60_000;

interface Running {
  readonly worker: Worker;
  readonly done: Promise<void>;
}

/** Workers of task queues, by name. */
export class Workers {
  readonly #access: TemporalAccess;
  readonly #native: NativeConnection;
  readonly #forceMs: number;
  readonly #running = new Map<string, Running>();
  /** A connection of the SDK takes only one worker for a queue: these are for second ones, and for those after a kill. */
  readonly #others = new Map<string, NativeConnection>();

  private constructor(access: TemporalAccess, native: NativeConnection, forceMs: number) {
    this.#access = access;
    this.#native = native;
    this.#forceMs = forceMs;
  }

  /** @param forceMs how long a worker may take to stop; one that is killed takes all of it */
  static async connect(access: TemporalAccess, forceMs = FORCE_MS): Promise<Workers> {
    return new Workers(access, await connectTemporal(access, ignore), forceMs);
  }

  has(name: string): boolean {
    return this.#running.has(name);
  }

  async start(name: string, options: Partial<WorkerOptions>, taskQueue = name): Promise<void> {
    if (taskQueue !== name) await this.#connectAnew(name);
    const { dataConverter } = this.#access;
    const connection = this.#others.get(name) ?? this.#native;
    const common = { connection, dataConverter, taskQueue, shutdownGraceTime: 0, shutdownForceTime: this.#forceMs };
    const worker = await Worker.create({ ...common, ...options });
    this.#running.set(name, { worker, done: worker.run() });
  }

  /** @throws when it does not end in time: then it waits for something, or the SDK has lost count of what it does */
  async stop(name: string): Promise<void> {
    const running = this.#running.get(name);
    this.#running.delete(name);
    running?.worker.shutdown();
    await running?.done;
  }

  /** As a kill does, for a worker whose steps stand at gates and so are never answered. */
  async kill(name: string): Promise<void> {
    await this.stop(name).catch(ignore);
    await this.#connectAnew(name);
  }

  /** Ends all of them, after a test that has failed, too. */
  async close(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((name) => this.stop(name).catch(ignore)));
    await Promise.all([this.#native, ...this.#others.values()].map((native) => native.close()));
  }

  async #connectAnew(name: string): Promise<void> {
    await this.#others.get(name)?.close();
    this.#others.set(name, await connectTemporal(this.#access, ignore));
  }
}

function ignore(): void {}
