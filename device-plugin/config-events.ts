import type { Logger } from 'pino';
import type { EventSink } from '../process/events.ts';

const RETRY_MS = 5_000;

/** Tells of a configuration that cannot be used by Events on the node, each once. */
export class ConfigEvents {
  readonly #events: EventSink;
  readonly #node: string;
  readonly #log: Logger;
  #told: string | undefined;
  #sending = false;
  #nextAt = 0;

  constructor(events: EventSink, node: string, log: Logger) {
    this.#events = events;
    this.#node = node;
    this.#log = log;
  }

  /** What is wrong now, if anything. To be called again and again: what could not be told is told later. */
  show(fault: string | undefined, now = performance.now()): void {
    if (fault === undefined) this.#told = undefined;
    if (fault === undefined || fault === this.#told || this.#sending || now < this.#nextAt) return;
    this.#sending = true;
    void this.#tell(fault, now).finally(() => {
      this.#sending = false;
    });
  }

  async #tell(fault: string, now: number): Promise<void> {
    try {
      await this.#events.warn({ kind: 'Node', name: this.#node }, 'InvalidConfiguration', fault);
      this.#told = fault;
      this.#nextAt = 0;
    } catch (err) {
      if (this.#nextAt === 0) this.#log.warn({ err }, 'cannot send an Event, trying again');
      this.#nextAt = now + RETRY_MS;
    }
  }
}
