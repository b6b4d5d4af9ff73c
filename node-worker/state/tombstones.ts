import { readFile } from 'node:fs/promises';
import { type DurableFiles, namesIn } from './durable-files.ts';

type Kind = 'served' | 'named';
type Limits = Readonly<Record<Kind, { readonly ms: number; readonly count: number }>>;

/** How long tombstones are kept, in milliseconds, and how many: the oldest go first. */
const KEPT: Limits = {
  /** Of slaves that had a checkpoint here: for as long as their mounts may be asked about. */
  served: { ms: 7 * 24 * 3_600_000, count: 10_000 },
  /**
   * Of slaves that never had: whoever can start activities can name any. An attach that comes late is refused by its own
   * deadline after an hour at the most.
   */
  named: { ms: 2 * 3_600_000, count: 2_000 },
};
const KINDS = ['served', 'named'] as const;

/** UIDs of slaves that nothing is attached of any more, each with a file that says since when. */
export class Tombstones {
  readonly #files: DurableFiles;
  readonly #limits: Limits;
  /** By UID, oldest first: since when, in milliseconds since 1970. */
  readonly #since = { served: new Map<string, number>(), named: new Map<string, number>() };

  private constructor(files: DurableFiles, limits: Limits) {
    this.#files = files;
    this.#limits = limits;
  }

  static async open(files: DurableFiles, nowMs: number, limits: Limits = KEPT): Promise<Tombstones> {
    const tombstones = new Tombstones(files, limits);
    await tombstones.#read(nowMs);
    await tombstones.#prune(nowMs);
    return tombstones;
  }

  has(uid: string): boolean {
    return KINDS.some((kind) => this.#since[kind].has(uid));
  }

  /** Counts at once, and is durable when its promise resolves. */
  async add(uids: readonly string[], kind: Kind, nowMs: number): Promise<void> {
    const fresh = uids.filter((uid) => !this.has(uid));
    for (const uid of fresh) this.#since[kind].set(uid, nowMs);
    const text = `${new Date(nowMs).toISOString()}${kind === 'served' ? '' : ` ${kind}`}\n`;
    await Promise.all(fresh.map((uid) => this.#files.write(this.#pathOf(uid), text)));
    await this.#prune(nowMs);
  }

  async #prune(nowMs: number): Promise<void> {
    for (const kind of KINDS) {
      const { ms, count } = this.#limits[kind];
      const all = this.#since[kind];
      for (const [uid, since] of all) {
        if (all.size <= count && nowMs - since <= ms) break;
        all.delete(uid);
        await this.#files.remove(this.#pathOf(uid));
      }
    }
  }

  async #read(nowMs: number): Promise<void> {
    const found: { readonly uid: string; readonly kind: Kind; readonly since: number }[] = [];
    for (const uid of await namesIn(this.#files.pathOf('tombstones'))) {
      const [since = '', kind] = (await readFile(this.#pathOf(uid), 'utf8')).trim().split(' ');
      const at = Date.parse(since);
      found.push({ uid, kind: kind === 'named' ? kind : 'served', since: Number.isNaN(at) ? nowMs : at });
    }
    for (const { uid, kind, since } of found.toSorted((a, b) => a.since - b.since)) this.#since[kind].set(uid, since);
  }

  #pathOf(uid: string): string {
    return this.#files.pathOf('tombstones', uid);
  }
}
