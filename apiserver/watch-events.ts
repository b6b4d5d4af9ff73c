import type { DeviceMount } from '../contract/device-mount.ts';
import { keyOf, type Snapshot } from './mount-feed.ts';
import { REMEMBERED_MS } from './repeat.ts';

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly mount: DeviceMount;
}

/** What one client has been told, and what it has to be told next. */
export class WatchState {
  readonly #matches: (mount: DeviceMount) => boolean;
  /** Only what changed after this is told at first; undefined: all. */
  readonly #since: number | undefined;
  #known: Map<string, DeviceMount> | undefined;

  constructor(matches: (mount: DeviceMount) => boolean, since: number | undefined) {
    this.#matches = matches;
    this.#since = since;
  }

  /** The events that lead from the snapshot before to this one. */
  events(snapshot: Snapshot): readonly WatchEvent[] {
    const mounts = snapshot.mounts.filter(this.#matches);
    const before = this.#known;
    const known = new Map(mounts.map((mount) => [keyOf(mount), mount]));
    const events = before === undefined ? this.#first(mounts, snapshot) : changes(before, known, snapshot.atMs);
    for (const [key, mount] of known) {
      // Lists may be older than what was read before.
      const newer = before?.get(key);
      if (newer !== undefined && newer.metadata.uid === mount.metadata.uid && versionOf(newer) > versionOf(mount)) {
        known.set(key, newer);
      }
    }
    this.#known = known;
    return events;
  }

  #first(mounts: readonly DeviceMount[], { gone }: Snapshot): readonly WatchEvent[] {
    const since = this.#since;
    if (since === undefined) return mounts.map((mount) => ({ type: 'ADDED', mount }));
    // What has left the list cannot have been told otherwise; one who never knew it is not harmed.
    const left = gone
      .filter((mount) => versionOf(mount) + REMEMBERED_MS > since && this.#matches(mount))
      .map((mount) => deleted(mount, versionOf(mount) + REMEMBERED_MS));
    const changed = mounts.filter((mount) => versionOf(mount) > since);
    return [
      ...left,
      ...changed.map((mount) => ({
        type: Date.parse(mount.metadata.creationTimestamp) > since ? ('ADDED' as const) : ('MODIFIED' as const),
        mount,
      })),
    ];
  }
}

function changes(
  before: ReadonlyMap<string, DeviceMount>,
  now: ReadonlyMap<string, DeviceMount>,
  atMs: number,
): readonly WatchEvent[] {
  const events: WatchEvent[] = [];
  for (const [key, mount] of before) {
    if (now.get(key)?.metadata.uid !== mount.metadata.uid) events.push(deleted(mount, atMs));
  }
  for (const [key, mount] of now) {
    const old = before.get(key);
    if (old?.metadata.uid !== mount.metadata.uid) events.push({ type: 'ADDED', mount });
    else if (versionOf(mount) > versionOf(old)) events.push({ type: 'MODIFIED', mount });
  }
  return events;
}

/** As kube-apiserver has it: the last state, with the version of its end. */
function deleted(mount: DeviceMount, atMs: number): WatchEvent {
  const resourceVersion = String(Math.max(versionOf(mount), atMs));
  return { type: 'DELETED', mount: { ...mount, metadata: { ...mount.metadata, resourceVersion } } };
}

function versionOf({ metadata }: DeviceMount): number {
  return Number(metadata.resourceVersion);
}
