import { setTimeout as delay } from 'node:timers/promises';
import type { DeviceMount } from '../contract/device-mount.ts';
import type { Mounts } from './mounts.ts';
import { REMEMBERED_MS } from './repeat.ts';

/** Pause between two looks, while somebody watches. */
const PAUSE_MS = 400;
/** Of a long list: at most this part of the time is spent on reading it. */
const BUSY_SHARE = 0.2;
/** How far back a watch may begin. */
export const WINDOW_MS = 5 * 60_000;

/** All mounts at one moment. */
export interface Snapshot {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** Those that are listed. */
  readonly mounts: readonly DeviceMount[];
  /** Those that were listed until a short while ago. */
  readonly gone: readonly DeviceMount[];
}

/** Reads all mounts again and again as long as somebody asks, once for all who do. */
export class MountFeed {
  readonly #mounts: Pick<Mounts, 'list' | 'get'>;
  #pending: Promise<Snapshot> | undefined;
  #last: Snapshot = { atMs: 0, mounts: [], gone: [] };
  #notBeforeMs = 0;

  constructor(mounts: Pick<Mounts, 'list' | 'get'>) {
    this.#mounts = mounts;
  }

  /** The next snapshot. Rejects like `Mounts.list`; the one after may be well again. */
  next(): Promise<Snapshot> {
    this.#pending ??= this.#read().finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #read(): Promise<Snapshot> {
    await delay(Math.max(0, this.#notBeforeMs - performance.now()));
    const startedMs = performance.now();
    try {
      const { items } = await this.#mounts.list(undefined, REMEMBERED_MS + WINDOW_MS);
      const mounts = [...items, ...(await this.#missed(items))];
      const now = new Date();
      this.#last = {
        atMs: now.getTime(),
        mounts: mounts.filter((mount) => isListed(mount, now)),
        gone: mounts.filter((mount) => !isListed(mount, now)),
      };
      return this.#last;
    } finally {
      const tookMs = performance.now() - startedMs;
      this.#notBeforeMs = performance.now() + Math.max(PAUSE_MS, tookMs * (1 / BUSY_SHARE - 1));
    }
  }

  /** A mount that goes on in another run may be missing in a list for a moment: only its workflow tells that it has gone. */
  async #missed(items: readonly DeviceMount[]): Promise<readonly DeviceMount[]> {
    const names = new Set(items.map(keyOf));
    const lost = this.#last.mounts.filter((mount) => !names.has(keyOf(mount)) && isListed(mount, new Date()));
    const found = await Promise.all(lost.map(({ metadata }) => this.#mounts.get(metadata.namespace, metadata.name)));
    return found.flatMap((mount) => (mount === undefined ? [] : [mount]));
  }
}

export function keyOf({ metadata }: DeviceMount): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** Whether a mount is still shown in lists: all that live, and for a while those that have ended. */
export function isListed({ metadata, status }: DeviceMount, now: Date): boolean {
  const ended = status.phase === 'Released' || status.phase === 'Failed';
  return !ended || now.getTime() - Number(metadata.resourceVersion) < REMEMBERED_MS;
}
