import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

test('docs/guides/write-a-driver.md shows the driver of HOSTDEV as it is, and names each member of a driver', () => {
  const guide = read('docs/guides/write-a-driver.md');
  expect(/^```ts\n([\s\S]*?)^```$/m.exec(guide)?.[1]).toBe(read('node-worker/drivers/hostdev.ts'));
  const [, members = ''] =
    /^export interface DeviceDriver \{\n([\s\S]*?)^\}$/m.exec(read('node-worker/drivers/driver.ts')) ?? [];
  const names = [...members.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)].map(([, name]) => name);
  const rows = [...guide.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
  expect(new Set(rows)).toEqual(new Set(names));
});
