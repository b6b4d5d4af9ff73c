import { PARTS, type Part } from './part.ts';
import { killTable } from './table.ts';

/** `npm run test:long` has a part for each row of the table. */
const { killed } = globalThis as { readonly killed?: Part };

killTable(killed === undefined ? PARTS : [killed]);
