import { describe, expect, test } from '@jest/globals';
import { array, assert, constantFrom, nat, oneof, property, string, tuple } from 'fast-check';
import { failureOf } from '../../contract/failures.ts';
import { UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import { RUNS } from '../../test/property-runs.ts';
import { type VgpuIds, vgpuIdsOf } from './vgpu-ids.ts';

const VOLCANO = 'volcano.sh/vgpu-ids-new';
const HAMI = 'hami.io/vgpu-devices-allocated';
const [A, B] = UUIDS;
const ask = (words: Readonly<Record<string, string>>): VgpuIds =>
  vgpuIdsOf({ slave: { namespace: 'd', name: 's1', uid: 'u' }, allocations: [], words });

describe('vgpuIdsOf()', () => {
  test.each([
    ['one GPU', VOLCANO, `${A},NVIDIA,2000,50:`, [A]],
    ['two GPUs, in their order', VOLCANO, `${B},NVIDIA,2000,0:${A},NVIDIA,2000,0:`, [B, A]],
    ['the GPUs of several containers', VOLCANO, `;${B},NVIDIA,2000,0:;${A},NVIDIA,2000,0:`, [B, A]],
    ['a GPU after the number of its container', VOLCANO, `0,${A},NVIDIA,2000,0:`, [A]],
    ['a GPU by HAMi, whose kind may have blanks', HAMI, `${A},NVIDIA-Tesla V100,3000,30:;`, [A]],
    ['no GPU', VOLCANO, ';', []],
  ])('reads %s', (_name, key, word, uuids) => {
    expect(ask({ [key]: word })).toEqual({ key, uuids });
  });

  test('takes the word of Volcano where HAMi has one, too', () => {
    expect(ask({ [HAMI]: `${A},NVIDIA,1,1:;`, [VOLCANO]: `${B},NVIDIA,1,1:` })).toEqual({ key: VOLCANO, uuids: [B] });
  });

  test.each([
    ['three fields', `${A},NVIDIA,2000:`],
    ['an index alone', `0,${A}:`],
    ['six fields', `0,${A},NVIDIA,2000,0,1:`],
    ['a part of a GPU, which MIG makes', `${A}[1g.10gb-0-0],NVIDIA,2000,0:`],
    ['memory that is no number', `${A},NVIDIA,-1,0:`],
    ['two devices without a colon', `${A},NVIDIA,1,1${B},NVIDIA,1,1:`],
    ['a line more', `${A},NVIDIA,1,1:\n`],
    ['a path', `../../${A},NVIDIA,1,1:`],
  ])('refuses %s', (_name, word) => {
    expect(() => ask({ [VOLCANO]: word })).toThrow(
      `Cannot attach what "s1" has: its "${VOLCANO}" must be GPUs such as "GPU-1,NVIDIA,2000,50:", is `,
    );
  });

  test('says which scheduler is missing where nobody has written anything', () => {
    expect(() => ask({})).toThrow(
      `Cannot attach what "s1" has: it has neither "${VOLCANO}" nor "${HAMI}". Is Volcano its scheduler?`,
    );
  });

  test('reads what was written, whoever has written it, or says in one line that it cannot', () => {
    const device = tuple(constantFrom(A, B, 'GPU-0'), constantFrom('NVIDIA', 'Tesla T4'), nat(99_999), nat(100));
    const devices = array(tuple(constantFrom('', '0,', '12,'), device), { maxLength: 5 });
    assert(
      property(constantFrom(VOLCANO, HAMI), devices, constantFrom('', ';', ';;'), (key, some, end) => {
        const word = some.map(([index, fields]) => `${index}${fields.join(',')}:`).join('') + end;
        expect(ask({ [key]: word }).uuids).toEqual(some.map(([, [uuid]]) => uuid));
      }),
      { numRuns: RUNS },
    );
    const part = oneof(constantFrom(A, ',', ':', ';', 'NVIDIA', '0', '\n', '[', 'GPU-'), string({ maxLength: 3 }));
    assert(
      property(array(part, { maxLength: 40 }), (parts) => {
        const word = parts.join('');
        try {
          expect(
            ask({ [VOLCANO]: word }).uuids.every((uuid) => /^GPU-[0-9a-f-]+$/.test(uuid) && word.includes(uuid)),
          ).toBe(true);
        } catch (err) {
          const { type, message = '' } = failureOf(err) ?? {};
          expect([type, /^Cannot [^\n]{10,900}$/.test(message)]).toEqual(['NotAllocated', true]);
        }
      }),
      { numRuns: RUNS },
    );
  });
});
