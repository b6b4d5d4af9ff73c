/** One measured number, and whether it is what the design asks for. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: 'ms' | 'us' | 'MiB' | 'times' | '%';
  /** In words: `<= 1`. Empty when there is none. */
  readonly goal: string;
  readonly ok: boolean;
}

/** A figure that may be at most `goal`, rounded to three digits. */
export function atMost(name: string, value: number, unit: Figure['unit'], goal: number): Figure {
  return { name, value: rounded(value), unit, goal: `<= ${goal}`, ok: value <= goal };
}

/** A figure that must be at least `goal`. */
export function atLeast(name: string, value: number, unit: Figure['unit'], goal: number): Figure {
  return { name, value: rounded(value), unit, goal: `>= ${goal}`, ok: value >= goal };
}

/** A figure to compare others with. */
export function measured(name: string, value: number, unit: Figure['unit']): Figure {
  return { name, value: rounded(value), unit, goal: '', ok: true };
}

const rounded = (value: number): number => Number(value.toPrecision(3));

/** The middle of `values`. */
export function p50(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** What 95 of 100 `values` do not exceed. */
export function p95(values: readonly number[]): number {
  return quantile(values, 0.95);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

/** Milliseconds that `use` takes. */
export async function timed(use: () => unknown): Promise<number> {
  const start = performance.now();
  await use();
  return performance.now() - start;
}
