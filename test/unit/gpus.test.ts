import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { gpusHere, lacking } from '../gpu/gpus.ts';
import { addDriver, BUS_IDS, gpuInformation, UUIDS } from '../node-worker/nvidia-tree.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'gpus-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const SENTENCE = /^Cannot test with a GPU: [^\n]+\.$/;

test('gpusHere() finds the GPUs of the driver, and lacking() nothing against testing with them', () => {
  addDriver(root);
  expect(gpusHere(root)).toEqual(UUIDS);
  expect(lacking(root, true)).toBeUndefined();
});

test.each<[string, () => void, boolean]>([
  ['without a driver', () => undefined, true],
  ['with a driver without GPUs', () => mkdirSync(join(root, 'proc/driver/nvidia/gpus'), { recursive: true }), true],
  ['with a GPU that nobody has used yet', addUnused, true],
  ['without the rights of root', () => addDriver(root), false],
])('lacking() says in one sentence why there is no testing with a GPU %s', (_name, prepare, isRoot) => {
  prepare();
  expect(lacking(root, isRoot)).toMatch(SENTENCE);
});

function addUnused(): void {
  const gpu = join(root, 'proc/driver/nvidia/gpus', BUS_IDS[0]);
  mkdirSync(gpu, { recursive: true });
  writeFileSync(join(gpu, 'information'), gpuInformation(BUS_IDS[0], 0));
}
