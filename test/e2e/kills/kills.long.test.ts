import { PARTS } from './part.ts';
import { killTable } from './table.ts';

killTable(PARTS);
