/** Longer than a change takes into Temporal's lists: milliseconds with SQL, a second with Elasticsearch. */
const RECENT_MS = 5_000;
/** Each is read by itself with every list. */
const MOST = 64;

interface Place {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The mounts that this process has told somebody about a moment ago. Temporal's lists lag behind its workflows, so that these are read one by one
 * beside a list: whoever was answered 200 finds the mount in the list that they ask this process for next. Another may be a moment behind.
 */
export class RecentMounts {
  readonly #toldAtMs = new Map<string, Place & { readonly atMs: number }>();

  note({ namespace, name }: Place, nowMs = performance.now()): void {
    const key = `${namespace}/${name}`;
    this.#toldAtMs.delete(key);
    this.#toldAtMs.set(key, { namespace, name, atMs: nowMs });
    const [oldest] = this.#toldAtMs.keys();
    if (this.#toldAtMs.size > MOST && oldest !== undefined) this.#toldAtMs.delete(oldest);
  }

  /** Those of a namespace, or of all. */
  in(namespace: string | undefined, nowMs = performance.now()): readonly Place[] {
    for (const [key, { atMs }] of this.#toldAtMs) {
      if (nowMs - atMs > RECENT_MS) this.#toldAtMs.delete(key);
    }
    return [...this.#toldAtMs.values()].filter((told) => namespace === undefined || told.namespace === namespace);
  }
}
