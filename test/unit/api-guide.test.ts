import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { DEVICE_TYPES } from '../../contract/device-types.ts';
import { FAILURES } from '../../contract/failures.ts';

const GUIDE = join(import.meta.dirname, '..', '..', 'docs', 'guides', 'api.md');

test('the table of failures in docs/guides/api.md has all of FAILURES, in its order', () => {
  const rows = [...readFileSync(GUIDE, 'utf8').matchAll(/^\| `(\w+)` +\| (\d{3}) +\| `(\w+)` +\| \S.*\|$/gm)];
  expect(rows.map(([, cause, code, reason]) => [cause, Number(code), reason])).toEqual(
    Object.entries(FAILURES).map(([cause, { code, reason }]) => [cause, code, reason]),
  );
});

test('the table of types in docs/guides/api.md has all of DEVICE_TYPES, in their order', () => {
  const [, table = ''] =
    /^\| `device_type` +\| what can be mounted.*\n\|[- |]+\n((?:\|.*\n)+)/m.exec(readFileSync(GUIDE, 'utf8')) ?? [];
  expect([...table.matchAll(/^\| `(\w+)`/gm)].map(([, type]) => type)).toEqual(Object.keys(DEVICE_TYPES));
});
