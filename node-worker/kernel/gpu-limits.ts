import type { GpuLimit, Grant, GrantedLimits, RegionPlace } from './engine.ts';

/** What the vGPUs of a container are limited to, and where that is written. */
export interface VgpuLimits {
  readonly region: RegionPlace;
  readonly limits: readonly GpuLimit[];
}

/** All that `grants` add to what the container had, GPU by GPU. */
export function limitsIn({ region, before }: GrantedLimits, grants: readonly Grant[]): VgpuLimits {
  const limits = new Map<string, GpuLimit>();
  const added = grants.flatMap((grant) => (grant.limits === undefined ? [] : [grant.limits.adds]));
  for (const limit of [...before, ...added]) {
    const known = limits.get(limit.gpu);
    limits.set(limit.gpu, known === undefined ? limit : sumOf(known, limit));
  }
  return { region, limits: [...limits.values()] };
}

/** Two shares of one GPU. */
const sumOf = (one: GpuLimit, other: GpuLimit): GpuLimit => ({
  ...one,
  memoryMiB: one.memoryMiB === 0 || other.memoryMiB === 0 ? 0 : one.memoryMiB + other.memoryMiB,
  cores: Math.min(100, one.cores + other.cores),
});
