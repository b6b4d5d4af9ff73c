import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { z } from 'zod';

/** What a container was given under an id. */
export interface Given {
  /** Name of the device. */
  readonly device: string;
  /** Number of each of its files, by key. */
  readonly numbers: Readonly<Record<string, string>>;
}

/** Many more than containers of a node. */
const MAX_IDS = 10_000;
const GIVEN = z.object({ device: z.string(), numbers: z.record(z.string(), z.string()) });
const FILE = z.object({ boot: z.string(), resources: z.record(z.string(), z.array(z.tuple([z.string(), GIVEN]))) });

/**
 * Remembers which device each id stood for when it was last given out, so that the id never stands for another one while a
 * container may still have it: the kubelet does not tell when an id is free again. A file keeps this over restarts of the plugin,
 * but not of the host, after which containers get whatever is there.
 */
export class Allocations {
  readonly #file: string;
  readonly #boot: string;
  readonly #log: Logger;
  readonly #resources: Map<string, Map<string, Given>>;

  /** @param boot id of the host's boot */
  constructor(file: string, boot: string, log: Logger) {
    this.#file = file;
    this.#boot = boot;
    this.#log = log;
    this.#resources = this.#read();
  }

  /** By id, the last one given at the end. */
  of(resource: string): ReadonlyMap<string, Given> {
    return this.#resources.get(resource) ?? new Map();
  }

  record(resource: string, ids: ReadonlyMap<string, Given>): void {
    const all = this.#resources.get(resource) ?? new Map<string, Given>();
    const news = [...ids].filter(([id, given]) => !isDeepStrictEqual(all.get(id), given));
    if (news.length === 0) return;
    this.#resources.set(resource, all);
    for (const [id, given] of news) {
      all.delete(id);
      all.set(id, given);
    }
    for (const id of [...all.keys()].slice(0, Math.max(0, all.size - MAX_IDS))) all.delete(id);
    this.#write();
  }

  #read(): Map<string, Map<string, Given>> {
    try {
      const { boot, resources } = FILE.parse(JSON.parse(readFileSync(this.#file, 'utf8')));
      if (boot === this.#boot) return new Map(Object.entries(resources).map(([name, ids]) => [name, new Map(ids)]));
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#log.warn({ err, file: this.#file }, 'Cannot read which devices were given out: all count as free');
    }
    return new Map();
  }

  /** A full disk keeps no container from starting: the plugin still knows, until it restarts. */
  #write(): void {
    const resources = Object.fromEntries([...this.#resources].map(([name, ids]) => [name, [...ids]]));
    try {
      mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 });
      writeFileSync(`${this.#file}.new`, JSON.stringify({ boot: this.#boot, resources }), { mode: 0o600 });
      renameSync(`${this.#file}.new`, this.#file);
    } catch (err) {
      this.#log.error(
        { err, file: this.#file },
        'Cannot write down which devices were given out: a restart forgets them',
      );
    }
  }
}
