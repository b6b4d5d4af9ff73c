import type { NodeServer } from '../../deploy/local/server.ts';
import { now } from './clock.ts';

const LOOK_MS = 200;
/** A server that ends at once, since another is not there yet, is not started again sooner. */
const RESTART_MS = 1_000;

/** Starts servers again that have ended, as the machine's own supervisor would. */
export class Keeper {
  readonly #servers: readonly NodeServer[];
  readonly #notBefore = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(servers: readonly NodeServer[]) {
    this.#servers = servers;
  }

  start(): void {
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Ends a server with SIGKILL, and leaves it away for `awayMs`. */
  async kill(server: NodeServer, awayMs: number): Promise<void> {
    this.#notBefore.set(server.name, Number.POSITIVE_INFINITY);
    try {
      await server.stop('SIGKILL');
    } finally {
      this.#notBefore.set(server.name, now() + awayMs);
    }
  }

  allRun(): boolean {
    return this.#servers.every((server) => server.pid() !== undefined);
  }

  #look(): void {
    for (const server of this.#servers) {
      if (now() < (this.#notBefore.get(server.name) ?? 0) || server.pid() !== undefined) continue;
      this.#notBefore.set(server.name, now() + RESTART_MS);
      try {
        server.start();
      } catch {
        // A systemd that does not answer is asked again.
      }
    }
  }
}
