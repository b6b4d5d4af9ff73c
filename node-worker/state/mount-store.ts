import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { MountRef } from '../../contract/node-activities.ts';
import type { MountRequest, UnmountRequest } from '../../contract/requests.ts';
import type { Grant } from '../kernel/engine.ts';
import { DurableFiles, namesIn } from './durable-files.ts';
import { keyOf, type LaterRecord, type MountRecord, parseLaterRecord, parseMountRecord } from './mount-record.ts';
import { OwnFiles } from './own-files.ts';
import { Tombstones } from './tombstones.ts';
import { UsedRequests } from './used-requests.ts';

/** RFC 1123 names of Kubernetes: never `.` or `..`, and no slash, so that they are safe as file names. */
const FILE_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Where records are kept; a change counts at once, and is durable when its promise resolves. */
export interface MountStore {
  records(): readonly MountRecord[];
  get(mount: MountRef): MountRecord | undefined;
  put(record: MountRecord): Promise<void>;
  /**
   * `ended`: what was attached is taken back, and the request has had its use. `goesOn`: the same request is attached anew.
   * One that was never wholly attached may still be.
   */
  delete(mount: MountRef, how?: 'ended' | 'goesOn'): Promise<void>;
  /** UIDs of the slaves that a request was used for; undefined when it is new. */
  usedFor(request: MountRequest | UnmountRequest): ReadonlySet<string> | undefined;
  /** The first use of a request counts. */
  use(request: MountRequest | UnmountRequest, slaveUids: readonly string[]): Promise<void>;
  /** From now on nothing of these slaves (UIDs) is attached. */
  bury(slaveUids: readonly string[]): Promise<void>;
  buried(slaveUid: string): boolean;
  /** Path of a file with this text that anybody may read. It stays at least until the next start, and then while a record names it. */
  textFile(text: string): Promise<string>;
  /**
   * Path of the file in which the programs of a container keep their limits. It is as new unless another mount than `mount` has it there. It stays as
   * long as a text.
   */
  regionFile(containerId: string, mount: MountRef): Promise<string>;
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

/**
 * Keeps each record as a readable file `mounts/<namespace>/<name>`; beside them `tombstones/` has a file for each slave that is
 * buried, `used/` one for each request that was used, and `texts/` and `regions/` what containers have mounted of our making.
 */
export class FileMountStore implements MountStore {
  readonly #files: DurableFiles;
  readonly #records = new Map<string, MountRecord>();
  readonly #tombstones: Tombstones;
  readonly #used: UsedRequests;
  readonly #ownFiles: OwnFiles;
  /** UIDs of slaves that have had a checkpoint and no tombstone yet. */
  readonly #served = new Set<string>();
  /** Files that could not be read; they stay where they are. */
  readonly unreadable: UnreadableFile[] = [];

  private constructor(files: DurableFiles, tombstones: Tombstones, used: UsedRequests) {
    this.#files = files;
    this.#tombstones = tombstones;
    this.#used = used;
    this.#ownFiles = new OwnFiles(files);
  }

  static async open(stateDir: string, now = Date.now()): Promise<FileMountStore> {
    const files = await DurableFiles.open(stateDir);
    const store = new FileMountStore(files, await Tombstones.open(files, now), await UsedRequests.open(files, now));
    await store.#readRecords(stateDir);
    // A checkpoint that cannot be read may name any of them.
    if (store.unreadable.length === 0) await store.#ownFiles.keepOnly(store.#filesFrom());
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
    const before = this.get(record.mount);
    this.#remember(record);
    if (before?.signed.signature !== record.signed.signature) await this.#noteUse(before);
    await this.#files.write(path, `${JSON.stringify(record, undefined, 2)}\n`);
  }

  async delete(mount: MountRef, how: 'ended' | 'goesOn' = 'ended'): Promise<void> {
    const before = this.get(mount);
    this.#records.delete(keyOf(mount));
    // First: until then the checkpoint itself shows what its request was used for.
    if (how === 'ended') await this.#noteUse(before);
    await this.#files.remove(this.#pathOf(mount));
  }

  usedFor(request: MountRequest | UnmountRequest): ReadonlySet<string> | undefined {
    return this.#used.of(request);
  }

  use(request: MountRequest | UnmountRequest, slaveUids: readonly string[]): Promise<void> {
    return this.#used.add(request, slaveUids, Date.now());
  }

  textFile(text: string): Promise<string> {
    return this.#ownFiles.textFile(text);
  }

  async regionFile(containerId: string, mount: MountRef): Promise<string> {
    const others = tracesOf(this, containerId, mount).flatMap(({ files = [] }) => files.map(({ from }) => from));
    return this.#ownFiles.regionFile(containerId, others);
  }

  /** Names of the files of the host that containers have. */
  #filesFrom(): ReadonlySet<string> {
    const grants = this.records().flatMap(({ devices }) => devices.map(({ grant }) => grant));
    return new Set(grants.flatMap(({ files = [] }) => files.map(({ from }) => basename(from))));
  }

  async #noteUse(record: MountRecord | undefined): Promise<void> {
    if (record === undefined || record.phase === 'attaching') return;
    const slaves = record.slaves.map(({ uid }) => uid);
    await this.use(record.signed.request, slaves);
  }

  async bury(slaveUids: readonly string[]): Promise<void> {
    const { served = [], named = [] } = Object.groupBy(
      slaveUids.filter((uid) => FILE_NAME.test(uid)),
      (uid) => (this.#served.has(uid) ? 'served' : 'named'),
    );
    const now = Date.now();
    const writing = [this.#tombstones.add(served, 'served', now), this.#tombstones.add(named, 'named', now)];
    for (const uid of served) this.#served.delete(uid);
    await Promise.all(writing);
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
    for (const record of records) this.#remember(record);
    this.unreadable.push(...unreadable);
  }

  #remember(record: MountRecord): void {
    this.#records.set(keyOf(record.mount), record);
    for (const { uid } of record.slaves) this.#served.add(uid);
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
