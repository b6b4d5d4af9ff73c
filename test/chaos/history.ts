import { closeSync, openSync, writeSync } from 'node:fs';
import { now } from './clock.ts';
import type { PlannedFault } from './schedule.ts';

/** A request of a client, and what it was answered. Times as of clock.ts. */
export interface Call {
  readonly type: 'call';
  readonly verb: 'mount' | 'renew' | 'unmount' | 'cancel';
  readonly pod: string;
  readonly node: string;
  /** Of the mount. */
  readonly name: string;
  readonly resource: string;
  readonly force?: boolean;
  /** Of an unmount: whether the mount may have ended by itself. */
  readonly leased?: boolean;
  readonly fromMs: number;
  readonly toMs: number;
  /** HTTP; absent when there was no answer. */
  readonly status?: number;
  /** Key of `FAILURES`. */
  readonly failure?: string;
  /** Further causes: `RollingBack`. */
  readonly causes?: readonly string[];
  readonly message?: string;
  /** Name of the slave that holds the device, which tells one mount from the next of its name. */
  readonly slave?: string;
  readonly phase?: string;
  /** RFC 3339. */
  readonly leaseEndsAt?: string;
}

/** A fault that was done. */
export interface Struck {
  readonly type: 'fault';
  readonly fault: PlannedFault;
  readonly atMs: number;
  /** What was hit: processes or pods. Absent when there was nothing to hit. */
  readonly hit?: string;
  /** The target that is concerned. */
  readonly pod?: string;
}

/** A time in which a pod must not have its device: its client was told so. */
export interface Quiet {
  readonly type: 'quiet';
  readonly pod: string;
  readonly node: string;
  readonly name: string;
  readonly why: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Something that must not be. */
export interface Violation {
  readonly type: 'violation';
  readonly what: string;
  readonly atMs: number;
  /** The last one that had begun before. */
  readonly fault: number;
}

export type Entry =
  | Call
  | Struck
  | Quiet
  | Violation
  | { readonly type: 'begin'; readonly seed: number; readonly faults: number; readonly mutation?: string }
  | { readonly type: 'released'; readonly fault: number; readonly atMs: number }
  | { readonly type: 'target'; readonly pod: string; readonly node: string; readonly atMs: number }
  | { readonly type: 'away'; readonly node: string; readonly fromMs: number; readonly toMs: number }
  | { readonly type: 'rest'; readonly mounts: number; readonly tookMs: number; readonly atMs: number }
  | { readonly type: 'note'; readonly text: string; readonly atMs: number };

/** All that happened, in memory and as a line of JSON each in a file. */
export class History {
  readonly entries: Entry[] = [];
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'w');
  }

  add(entry: Entry): void {
    this.entries.push(entry);
    writeSync(this.#file, `${JSON.stringify(entry)}\n`);
  }

  note(text: string): void {
    this.add({ type: 'note', text, atMs: now() });
  }

  violation(what: string, atMs = now()): void {
    const before = this.of('fault').filter((struck) => struck.hit !== undefined && struck.atMs <= atMs);
    this.add({ type: 'violation', what, atMs, fault: before.at(-1)?.fault.index ?? 0 });
    console.log(`VIOLATION after fault #${before.at(-1)?.fault.index ?? 0}: ${what}`);
  }

  of<T extends Entry['type']>(type: T): Extract<Entry, { readonly type: T }>[] {
    return this.entries.filter((entry): entry is Extract<Entry, { readonly type: T }> => entry.type === type);
  }

  close(): void {
    closeSync(this.#file);
  }
}
