import { createHash } from 'node:crypto';

/** Numbers that depend on the seed and on nothing else. */
export class Random {
  readonly #seed: string;
  #count = 0;

  constructor(seed: string | number) {
    this.#seed = String(seed);
  }

  /** At least 0, below 1. */
  next(): number {
    const digest = createHash('sha256')
      .update(`${this.#seed} ${this.#count++}`)
      .digest();
    return digest.readUInt32BE(0) / 2 ** 32;
  }

  /** A whole number, at least 0 and below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** A whole number from `low` to `high`. */
  between([low, high]: readonly [number, number]): number {
    return low + this.below(high - low + 1);
  }

  pick<T>(list: readonly T[]): T {
    const picked = list[this.below(list.length)];
    if (picked === undefined) throw new RangeError('Cannot pick: the list must not be empty');
    return picked;
  }

  /** A key of `weights`, each as often as its weight says. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      left -= weight;
      if (left < 0) return key;
    }
    throw new RangeError('Cannot pick: a weight must be above 0');
  }

  /** Numbers of their own for a part, whatever the other parts draw. */
  for(part: string): Random {
    return new Random(`${this.#seed}/${part}`);
  }
}
