import {
  GracefulShutdownPeriodExpiredError,
  type NativeConnection,
  Worker,
  type WorkerOptions,
} from '@temporalio/worker';
import type { TemporalAccess } from '../../process/temporal-access.ts';
import { connectTemporal } from '../../workflows/temporal.ts';

/** For what a worker still does when it is stopped; one that is killed takes all of it. */
const STOP_MS = 3_000;

interface Running {
  readonly worker: Worker;
  readonly done: Promise<void>;
}

/** Workers of task queues, by name. */
export class Workers {
  readonly #access: TemporalAccess;
  readonly #native: NativeConnection;
  readonly #running = new Map<string, Running>();
  /** A connection of the SDK takes only one worker for a queue: these are for second ones, and for those after a kill. */
  readonly #others = new Map<string, NativeConnection>();

  private constructor(access: TemporalAccess, native: NativeConnection) {
    this.#access = access;
    this.#native = native;
  }

  static async connect(access: TemporalAccess): Promise<Workers> {
    return new Workers(access, await connectTemporal(access, ignore));
  }

  has(name: string): boolean {
    return this.#running.has(name);
  }

  async start(name: string, options: Partial<WorkerOptions>, taskQueue = name): Promise<void> {
    if (taskQueue !== name) await this.#connectAnew(name);
    const { dataConverter } = this.#access;
    const connection = this.#others.get(name) ?? this.#native;
    const common = { connection, dataConverter, taskQueue, shutdownGraceTime: 0, shutdownForceTime: STOP_MS };
    const worker = await Worker.create({ ...common, ...options });
    this.#running.set(name, { worker, done: worker.run() });
  }

  /** A worker that has not ended in time, as on a busy machine, has been ended as by a kill. */
  async stop(name: string): Promise<void> {
    const running = this.#running.get(name);
    this.#running.delete(name);
    running?.worker.shutdown();
    try {
      await running?.done;
    } catch (err) {
      if (!(err instanceof GracefulShutdownPeriodExpiredError)) throw err;
      await this.#connectAnew(name);
    }
  }

  /** As a kill does, for a worker whose steps stand at gates and so are never answered. */
  async kill(name: string): Promise<void> {
    await this.stop(name).catch(ignore);
    await this.#connectAnew(name);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((name) => this.stop(name)));
    await Promise.all([this.#native, ...this.#others.values()].map((native) => native.close()));
  }

  async #connectAnew(name: string): Promise<void> {
    await this.#others.get(name)?.close();
    this.#others.set(name, await connectTemporal(this.#access, ignore));
  }
}

function ignore(): void {}
