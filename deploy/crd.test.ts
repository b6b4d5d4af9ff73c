import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { crdTemplate } from './crd.ts';

test("the chart's CustomResourceDefinition is what contract/ says", () => {
  expect(readFileSync(join(import.meta.dirname, 'chart', 'templates', 'crd.yaml'), 'utf8')).toBe(crdTemplate());
});
