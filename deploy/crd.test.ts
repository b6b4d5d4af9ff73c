import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { expect, test } from '@jest/globals';
import { CRD_FILES } from './crd.ts';

/** `UPDATE_CRD=1 npm run test:unit -- deploy/crd` writes the files anew. */
const UPDATES = process.env['UPDATE_CRD'] === '1';

test.each(CRD_FILES.map(({ path, text }) => [basename(path), path, text]))(
  '%s is what contract/ says',
  (_name, path, text) => {
    if (UPDATES) writeFileSync(path, text);
    expect(readFileSync(path, 'utf8')).toBe(text);
  },
);
