/** Runs what has the same key one after another, in the order of the calls. */
export class Locks {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Holds all `keys` while `body` runs. Keys are taken in one order, so that two callers never wait for each other. */
  async run<T>(keys: readonly string[], body: () => Promise<T>): Promise<T> {
    const [first, ...rest] = [...new Set(keys)].sort();
    if (first === undefined) return body();
    return this.#one(first, () => this.run(rest, body));
  }

  async #one<T>(key: string, body: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const mine = before.then(body, body);
    this.#tails.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#tails.get(key) === mine) this.#tails.delete(key);
    }
  }
}
