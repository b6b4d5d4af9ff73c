import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { timeOf } from '../clock.ts';

/** A stretch of equal answers to one process of a target, see witness.c. Times as of clock.ts. */
export interface Run {
  readonly pod: string;
  readonly node: string;
  /** `open`: opened and closed again; `hold`: kept open. */
  readonly how: 'open' | 'hold';
  /** Whether the kernel let it. */
  readonly could: boolean;
  readonly tries: number;
  /** Before and after the first try. */
  readonly firstMs: readonly [number, number];
  /** Before and after the last one. */
  readonly lastMs: readonly [number, number];
}

export interface Witnessed {
  readonly pod: string;
  readonly node: string;
}

/** Of `struct run`. */
const BYTES = 64;

/** Reads one file of a witness, whether it still writes or not. */
export function parseRuns(file: Buffer, how: Run['how'], { pod, node }: Witnessed): Run[] {
  const runs: Run[] = [];
  for (let at = 0; at + BYTES <= file.length && file.readInt32LE(at + 44) === 1; at += BYTES) {
    const time = (index: number): number => timeOf(file.readBigInt64LE(at + 8 * index));
    runs.push({
      pod,
      node,
      how,
      could: file.readInt32LE(at + 40) === 0,
      tries: Number(file.readBigUInt64LE(at + 32)),
      firstMs: [time(0), time(1)],
      lastMs: [time(2), time(3)],
    });
  }
  return runs;
}

/** Everything that the witness of a pod has written into `folder`, in all containers that the pod has had. */
export function readRuns(folder: string, witnessed: Witnessed): Run[] {
  return readdirSync(folder).flatMap((name) => {
    const how = name.endsWith('.hold') ? 'hold' : 'open';
    return parseRuns(readFileSync(join(folder, name)), how, witnessed);
  });
}
