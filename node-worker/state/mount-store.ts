import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MountRef } from '../../contract/node-activities.ts';
import { codeOf } from '../error-code.ts';
import type { Grant } from '../kernel/engine.ts';
import { DurableFiles } from './durable-files.ts';
import { keyOf, type LaterRecord, type MountRecord, parseLaterRecord, parseMountRecord } from './mount-record.ts';

/** A tombstone is kept for longer than any workflow step may still run after its time-out. */
const TOMBSTONE_MS = 7 * 24 * 3_600_000;
/** RFC 1123 names of Kubernetes: never `.` or `..`, and no slash, so that they are safe as file names. */
const FILE_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Where records are kept; a change counts at once, and is durable when its promise resolves. */
export interface MountStore {
  records(): readonly MountRecord[];
  get(mount: MountRef): MountRecord | undefined;
  put(record: MountRecord): Promise<void>;
  delete(mount: MountRef): Promise<void>;
  /** From now on nothing of these slaves (UIDs) is attached. */
  bury(slaveUids: readonly string[]): Promise<void>;
  buried(slaveUid: string): boolean;
  /** Checkpoints that a later release has written: what they hold is left alone. */
  readonly later: readonly LaterRecord[];
}

/** A file in the place of a checkpoint that is none, or one of a later release. */
export interface UnreadableFile {
  readonly path: string;
  readonly err: unknown;
  readonly later: LaterRecord | undefined;
}

/** All grants that a container is to have. */
export function grantsOf(store: MountStore, containerId: string): readonly Grant[] {
  return grantsIn(store, containerId, (phase) => phase === 'attaching' || phase === 'attached');
}

/** All grants of which there may be something in a container, but those of `except`. */
export function tracesOf(store: MountStore, containerId: string, except?: MountRef): readonly Grant[] {
  return grantsIn(store, containerId, (phase) => phase !== 'revoked', except);
}

function grantsIn(
  store: MountStore,
  containerId: string,
  counts: (phase: MountRecord['phase']) => boolean,
  except?: MountRef,
): readonly Grant[] {
  return store
    .records()
    .filter((record) => record.containerId === containerId && counts(record.phase))
    .filter(({ mount }) => except === undefined || keyOf(mount) !== keyOf(except))
    .flatMap(({ devices }) => devices.map(({ grant }) => grant));
}

/** Keeps each record as a readable file `mounts/<namespace>/<name>`, and an empty file `tombstones/<uid>` for each slave. */
export class FileMountStore implements MountStore {
  readonly #files: DurableFiles;
  readonly #records = new Map<string, MountRecord>();
  readonly #tombstones = new Set<string>();
  /** Files that could not be read; they stay where they are. */
  readonly unreadable: UnreadableFile[] = [];

  private constructor(files: DurableFiles) {
    this.#files = files;
  }

  static async open(stateDir: string, now = Date.now()): Promise<FileMountStore> {
    const store = new FileMountStore(await DurableFiles.open(stateDir));
    await store.#readRecords(stateDir);
    await store.#readTombstones(now);
    return store;
  }

  records(): readonly MountRecord[] {
    return [...this.#records.values()];
  }

  get(mount: MountRef): MountRecord | undefined {
    return this.#records.get(keyOf(mount));
  }

  async put(record: MountRecord): Promise<void> {
    const path = this.#pathOf(record.mount);
    this.#records.set(keyOf(record.mount), record);
    await this.#files.write(path, `${JSON.stringify(record, undefined, 2)}\n`);
  }

  async delete(mount: MountRef): Promise<void> {
    this.#records.delete(keyOf(mount));
    await this.#files.remove(this.#pathOf(mount));
  }

  async bury(slaveUids: readonly string[]): Promise<void> {
    const fresh = slaveUids.filter((uid) => FILE_NAME.test(uid) && !this.#tombstones.has(uid));
    for (const uid of fresh) this.#tombstones.add(uid);
    const text = `${new Date().toISOString()}\n`;
    await Promise.all(fresh.map((uid) => this.#files.write(this.#files.pathOf('tombstones', uid), text)));
  }

  buried(slaveUid: string): boolean {
    return this.#tombstones.has(slaveUid);
  }

  get later(): readonly LaterRecord[] {
    return this.unreadable.flatMap(({ later }) => later ?? []);
  }

  #pathOf({ namespace, name }: MountRef): string {
    if (!FILE_NAME.test(namespace) || !FILE_NAME.test(name)) {
      throw new RangeError(`Cannot keep mount "${namespace}/${name}": it must be a Kubernetes name`);
    }
    return this.#files.pathOf('mounts', namespace, name);
  }

  async #readRecords(stateDir: string): Promise<void> {
    const { records, unreadable } = await readRecords(stateDir);
    for (const record of records) this.#records.set(keyOf(record.mount), record);
    this.unreadable.push(...unreadable);
  }

  async #readTombstones(now: number): Promise<void> {
    for (const uid of await namesIn(this.#files.pathOf('tombstones'))) {
      const path = this.#files.pathOf('tombstones', uid);
      const since = Date.parse((await readFile(path, 'utf8')).trim());
      if (now - since > TOMBSTONE_MS) await this.#files.remove(path);
      else this.#tombstones.add(uid);
    }
  }
}

/** The records in a state directory, which may be another process's: nothing in it is changed. */
export async function readRecords(
  stateDir: string,
): Promise<{ readonly records: readonly MountRecord[]; readonly unreadable: readonly UnreadableFile[] }> {
  const records: MountRecord[] = [];
  const unreadable: UnreadableFile[] = [];
  for (const path of await recordPaths(join(stateDir, 'mounts'))) {
    const text = await readFile(path, 'utf8');
    try {
      records.push(parseMountRecord(text));
    } catch (err) {
      unreadable.push({ path, err, later: parseLaterRecord(text) });
    }
  }
  return { records, unreadable };
}

async function recordPaths(root: string): Promise<readonly string[]> {
  const namespaces = await namesIn(root);
  const paths = await Promise.all(
    namespaces.map(async (namespace) => {
      const names = await namesIn(join(root, namespace));
      return names.map((name) => join(root, namespace, name));
    }),
  );
  return paths.flat();
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return [];
    throw err;
  }
}
