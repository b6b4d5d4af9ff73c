import { killTable } from './table.ts';

killTable(['control worker', 'node worker']);
