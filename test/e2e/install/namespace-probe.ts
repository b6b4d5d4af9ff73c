import { createNamespace, deleteNamespace, namespaceGone } from '../api/namespaces.ts';

/** What no order of installing and removing may make a namespace that ends wait, in milliseconds. */
const MAX_MS = 30_000;

/** Makes and deletes namespaces that have nothing to do with the product, one after the other, until it is told to stop. */
export class NamespaceProbe {
  readonly #running: Promise<number>;
  #stopped = false;

  constructor(name: string) {
    this.#running = this.#run(name);
    // Whoever stops it is told.
    this.#running.catch(() => undefined);
  }

  /** Answers what the slowest deletion took, in milliseconds. @throws when one is not done in time */
  stop(): Promise<number> {
    this.#stopped = true;
    return this.#running;
  }

  async #run(prefix: string): Promise<number> {
    let slowestMs = 0;
    for (let index = 0; !this.#stopped; index++) {
      const name = `${prefix}-${index}`;
      await createNamespace(name);
      const started = performance.now();
      await deleteNamespace(name);
      await namespaceGone(name, MAX_MS);
      slowestMs = Math.max(slowestMs, performance.now() - started);
    }
    return slowestMs;
  }
}
