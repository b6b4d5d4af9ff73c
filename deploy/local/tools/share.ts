interface Weighted {
  readonly name: string;
  readonly usualMinutes: number;
}

/** No piece of work counts as done before it is: its last twentieth is kept for its end. */
const MOST_OF_ONE = 0.95;

/**
 * How much of a row of builds is done, judged by the time that each usually takes. What is finished tells how fast this machine is, and
 * the rest is judged by that.
 */
export class Share {
  readonly #all: readonly Weighted[];
  readonly #took = new Map<string, number>();
  #current: { readonly name: string; readonly since: number } | undefined;

  constructor(all: readonly Weighted[]) {
    this.#all = all;
  }

  begin(name: string, now: number): void {
    this.#current = { name, since: now };
  }

  /** Ends what was begun last. Times are in milliseconds, from any one start. */
  end(now: number): void {
    if (this.#current !== undefined) this.#took.set(this.#current.name, now - this.#current.since);
    this.#current = undefined;
  }

  /** `43 %, about 8 min left`; minutes are rounded up. */
  text(now: number): string {
    const usual = this.#minutes(() => true);
    const done = this.#minutes(({ name }) => this.#took.has(name));
    const current = this.#all.find(({ name }) => name === this.#current?.name);
    const spent = current === undefined ? 0 : (now - (this.#current?.since ?? now)) / 60_000 / this.#pace(done);
    const finished = done + Math.min(spent, MOST_OF_ONE * (current?.usualMinutes ?? 0));
    const left = Math.ceil((usual - finished) * this.#pace(done));
    return `${Math.floor((100 * finished) / usual)} %, about ${left} min left`;
  }

  #minutes(which: (one: Weighted) => boolean): number {
    return this.#all.filter(which).reduce((sum, { usualMinutes }) => sum + usualMinutes, 0);
  }

  /** Minutes here for a usual one. Small builds tell little: until a usual minute is done, it is 1. */
  #pace(doneMinutes: number): number {
    if (doneMinutes < 1) return 1;
    return [...this.#took.values()].reduce((sum, ms) => sum + ms, 0) / 60_000 / doneMinutes;
  }
}

const MEGABYTE = 1e6;

/** How much of downloads that go on side by side is done. */
export class ByteShare {
  #size = 0;
  #done = 0;

  size(bytes: number): void {
    this.#size += bytes;
  }

  piece(bytes: number): void {
    this.#done += bytes;
  }

  /** `143 of 620 MB, 23 %`; of what hosts have told the size of. */
  text(): string {
    const percent = this.#size === 0 ? 0 : Math.floor((100 * this.#done) / this.#size);
    return `${Math.floor(this.#done / MEGABYTE)} of ${Math.ceil(this.#size / MEGABYTE)} MB, ${percent} %`;
  }
}
