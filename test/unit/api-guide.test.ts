import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { FAILURES } from '../../contract/failures.ts';

const GUIDE = join(import.meta.dirname, '..', '..', 'docs', 'guides', 'api.md');

test('the table of failures in docs/guides/api.md has all of FAILURES, in its order', () => {
  const rows = [...readFileSync(GUIDE, 'utf8').matchAll(/^\| `(\w+)` +\| (\d{3}) +\| `(\w+)` +\| \S.*\|$/gm)];
  expect(rows.map(([, cause, code, reason]) => [cause, Number(code), reason])).toEqual(
    Object.entries(FAILURES).map(([cause, { code, reason }]) => [cause, code, reason]),
  );
});
