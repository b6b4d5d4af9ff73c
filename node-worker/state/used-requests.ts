import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { endsAtMs, type MountRequest, type UnmountRequest } from '../../contract/requests.ts';
import { requestDigest } from '../../contract/signature.ts';
import { type DurableFiles, namesIn } from './durable-files.ts';

type SignedRequest = MountRequest | UnmountRequest;

/** Each is a request that the apiserver has signed and that is not over; where there are more, those that end first go. */
const MAX_USED = 10_000;

interface Use {
  /** UIDs of the slaves that the request was used for. */
  readonly slaves: ReadonlySet<string>;
  readonly untilMs: number;
}

const USE = z.object({ slaves: z.array(z.string()), until: z.iso.datetime() });

/** A damaged file is no reason not to start: it only says what is refused, and for an hour at most. */
function parseUse(text: string): z.infer<typeof USE> {
  try {
    return USE.parse(JSON.parse(text));
  } catch {
    return { slaves: [], until: new Date(0).toISOString() };
  }
}

/** What signed requests were used for, each in a file until its time is over: then it is refused as too old. */
export class UsedRequests {
  readonly #files: DurableFiles;
  readonly #max: number;
  readonly #uses = new Map<string, Use>();

  private constructor(files: DurableFiles, max: number) {
    this.#files = files;
    this.#max = max;
  }

  static async open(files: DurableFiles, nowMs: number, max = MAX_USED): Promise<UsedRequests> {
    const used = new UsedRequests(files, max);
    for (const digest of await namesIn(files.pathOf('used'))) {
      const { slaves, until } = parseUse(await readFile(used.#pathOf(digest), 'utf8'));
      used.#uses.set(digest, { slaves: new Set(slaves), untilMs: Date.parse(until) });
    }
    await used.#prune(nowMs);
    return used;
  }

  /** UIDs of the slaves that a request was used for first; undefined when it is new. */
  of(request: SignedRequest): ReadonlySet<string> | undefined {
    return this.#uses.get(requestDigest(request))?.slaves;
  }

  /** The first use counts: at once, and after a crash when its promise has resolved. One that is over anyway is not kept. */
  async add(request: SignedRequest, slaves: readonly string[], nowMs: number): Promise<void> {
    const digest = requestDigest(request);
    const untilMs = endsAtMs(request);
    if (this.#uses.has(digest) || nowMs > untilMs) return;
    this.#uses.set(digest, { slaves: new Set(slaves), untilMs });
    const text = JSON.stringify({ slaves, until: new Date(untilMs).toISOString() });
    await this.#files.write(this.#pathOf(digest), `${text}\n`);
    await this.#prune(nowMs);
  }

  async #prune(nowMs: number): Promise<void> {
    const over = [...this.#uses.values()].filter(({ untilMs }) => nowMs > untilMs).length;
    const surplus = Math.max(over, this.#uses.size - this.#max);
    if (surplus === 0) return;
    const byEnd = [...this.#uses].toSorted(([, a], [, b]) => a.untilMs - b.untilMs);
    for (const [digest] of byEnd.slice(0, surplus)) {
      this.#uses.delete(digest);
      await this.#files.remove(this.#pathOf(digest));
    }
  }

  #pathOf(digest: string): string {
    return this.#files.pathOf('used', digest);
  }
}
