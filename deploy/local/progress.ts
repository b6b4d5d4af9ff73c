/** Prints named steps with their time: on a terminal as a line that counts up, elsewhere as one line per step. */
export class Progress {
  readonly #out: NodeJS.WriteStream;
  readonly #running = new Map<symbol, () => string>();
  #ticker: NodeJS.Timeout | undefined;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  say(text: string): void {
    this.#print(text);
  }

  /**
   * Runs `body` under `title`; steps may run side by side. What it throws passes through after the step is marked as failed.
   * `share` says how much of it is done, as long as it runs.
   */
  async step<T>(title: string, body: () => Promise<T>, share?: () => string): Promise<T> {
    const id = Symbol(title);
    const started = performance.now();
    const text = (): string => `${title}  ${elapsed(performance.now() - started)}`;
    this.#running.set(id, () => (share === undefined ? text() : `${share()} · ${text()}`));
    this.#ticker ??= setInterval(() => this.#tick(), this.#out.isTTY ? 1_000 : 60_000);
    try {
      const result = await body();
      this.#end(id, `✓ ${text()}`);
      return result;
    } catch (err) {
      this.#end(id, `✗ ${text()}`);
      throw err;
    }
  }

  #tick(): void {
    const text = `… ${[...this.#running.values()].map((line) => line()).join(' · ')}`;
    this.#out.write(this.#out.isTTY ? `\r\u001b[K${text.slice(0, this.#out.columns - 1)}` : `${text}\n`);
  }

  #end(id: symbol, text: string): void {
    this.#running.delete(id);
    this.#print(text);
    if (this.#running.size > 0) return;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  #print(text: string): void {
    this.#out.write(this.#out.isTTY ? `\r\u001b[K${text}\n` : `${text}\n`);
  }
}

/** `340 ms`, `12.3 s`, `7 min 05 s`. */
export function elapsed(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}
