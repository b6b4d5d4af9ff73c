/** Where clients wait while the cluster is looked at. */
export class Gate {
  #opened: PromiseWithResolvers<void> | undefined;
  #waiting = 0;

  /** Resolves at once while it is open. */
  async pass(): Promise<void> {
    while (this.#opened !== undefined) {
      this.#waiting++;
      await this.#opened.promise.finally(() => this.#waiting--);
    }
  }

  close(): void {
    this.#opened ??= Promise.withResolvers();
  }

  open(): void {
    this.#opened?.resolve();
    this.#opened = undefined;
  }

  /** How many clients stand before it. */
  get waiting(): number {
    return this.#waiting;
  }
}
