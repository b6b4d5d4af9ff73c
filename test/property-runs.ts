/** How often a property is tried: 10,000 times in `npm run test:long`, fewer in `npm test`. */
export const { propertyRuns: RUNS = 200 } = globalThis as { readonly propertyRuns?: number };
