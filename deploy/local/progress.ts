/** Prints named steps with their time: on a terminal as a line that counts up, elsewhere as one line per step. */
export class Progress {
  readonly #out: NodeJS.WriteStream;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  say(text: string): void {
    this.#out.write(`${text}\n`);
  }

  /** Runs `body` under `title`. What it throws passes through after the step is marked as failed. */
  async step<T>(title: string, body: () => Promise<T>): Promise<T> {
    const started = performance.now();
    const line = (mark: string): string => `${mark} ${title}  ${elapsed(performance.now() - started)}`;
    const ticker = setInterval(() => this.#tick(line('…')), this.#out.isTTY ? 1_000 : 60_000);
    try {
      const result = await body();
      this.#end(line('✓'));
      return result;
    } catch (err) {
      this.#end(line('✗'));
      throw err;
    } finally {
      clearInterval(ticker);
    }
  }

  #tick(text: string): void {
    this.#out.write(this.#out.isTTY ? `\r\u001b[K${text}` : `${text}\n`);
  }

  #end(text: string): void {
    this.#out.write(this.#out.isTTY ? `\r\u001b[K${text}\n` : `${text}\n`);
  }
}

/** `340 ms`, `12.3 s`, `7 min 05 s`. */
export function elapsed(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}
