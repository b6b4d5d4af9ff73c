import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { REPOSITORY } from '../../deploy/local/state.ts';
import { MUTATIONS, type MutationName, mutated } from './mutations.ts';

test.each(Object.keys(MUTATIONS) as MutationName[])('mutation %s can be made in the product as it is', (name) => {
  const text = readFileSync(join(REPOSITORY, MUTATIONS[name].file), 'utf8');
  const changed = mutated(text, MUTATIONS[name]);
  expect(changed).not.toBe(text);
  expect(() => stripTypeScriptTypes(changed)).not.toThrow();
});

test.each([
  ['is not there', 'nothing'],
  ['is there twice', 'place place'],
])('mutated() refuses a text in which the place %s', (_name, text) => {
  expect(() => mutated(text, { file: 'f', from: 'place', to: '' })).toThrow(/f: it must hold/);
});
