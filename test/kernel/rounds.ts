/** `npm run test:long` gives a race more time, see jest.config.mjs. */
const { raceMs = 500 } = globalThis as { readonly raceMs?: number };
/** Fewer rounds prove nothing, however busy the machine is. */
const LEAST = 20;

/** The rounds of a race: as many as its time holds. */
export function* rounds(): Generator<number> {
  const end = performance.now() + raceMs;
  for (let round = 0; round < LEAST || performance.now() < end; round++) yield round;
}
