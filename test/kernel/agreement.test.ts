import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { ContainerHandle, DeviceNode } from '../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, policyOf } from './devices.ts';
import { engine } from './engine.ts';
import { CGROUP_VERSIONS } from './places.ts';

/** With `rw` by default in every container, or with nothing; some have a driver, some do not. */
const NUMBERS = [
  [1, 3, 'rw'],
  [1, 5, 'rw'],
  [10, 200, 'rw'],
  [10, 229, ''],
  [10, 232, ''],
  [195, 0, ''],
  [195, 255, ''],
  [226, 0, ''],
] as const;
const DEVICES = NUMBERS.map(
  ([major, minor]): DeviceNode => ({ ...FUSE, path: `/dev/t/${major}.${minor}`, major, minor }),
);
const ROUNDS = 25;
/** `npm run test:long` makes more. */
const { replacements = 1_000 } = globalThis as { readonly replacements?: number };
let container: TestContainer;
let handle: ContainerHandle;
beforeAll(cleanUp);
afterAll(cleanUp);

/** What opens of the kernel say: it answers EPERM when the policy refuses, and then never asks the driver. */
async function opens(): Promise<readonly string[]> {
  const nodes = DEVICES.map(({ path }) => path).join(' ');
  const tries = [
    ['r', '<'],
    ['w', '>>'],
  ].map(([letter, how]) => `case $( (: ${how}$d) 2>&1 ) in *"not permitted"*) ;; *) printf ${letter};; esac`);
  const printed = await container.run(`for d in ${nodes}; do ${tries.join('; ')}; echo; done`);
  return printed.split('\n').slice(0, DEVICES.length);
}

describe.each(CGROUP_VERSIONS)('on cgroup v%i', (cgroupVersion) => {
  beforeEach(async () => {
    container = await startContainer({ cgroupVersion });
    handle = await engine.openContainer({ containerId: container.id });
    const mknods = NUMBERS.map(([major, minor]) => `mknod /dev/t/${major}.${minor} c ${major} ${minor}`);
    expect(await container.run(`mkdir /dev/t; ${mknods.join('; ')}`)).toBe('');
  });
  afterEach(async () => {
    handle.close();
    await container.stop();
  });

  test('random grants, the interpreter and real opens agree', async () => {
    const before = policyOf(container);
    const access = fc.constantFrom('', 'r', 'w', 'rw', 'rwm');
    const grants = fc.tuple(...DEVICES.map(() => access));
    await fc.assert(
      fc.asyncProperty(grants, async (letters) => {
        const wanted = DEVICES.flatMap((device, index) => {
          const given = letters[index] ?? '';
          return given === '' ? [] : [{ ...device, access: given }];
        });
        const plan = await engine.plan(handle, 'a', wanted, []);
        await engine.grant(handle, plan, []);
        const meant = NUMBERS.map(([, , usual], index) =>
          ['r', 'w'].filter((letter) => (usual + (letters[index] ?? '')).includes(letter)).join(''),
        );
        expect(DEVICES.map((device) => engine.accessTo(handle, device).replace('m', ''))).toEqual(meant);
        expect(await opens()).toEqual(meant);
        await engine.revoke(handle, plan, []);
        expect(policyOf(container)).toEqual(before);
      }),
      { numRuns: ROUNDS },
    );
  });

  test('nothing allowed is ever refused while rules are replaced', async () => {
    const fuse = await engine.plan(handle, 'fuse', [FUSE], []);
    await engine.grant(handle, fuse, []);
    await container.run(
      'echo >/tmp/go; (n=0; while test -e /tmp/go; do (: </dev/fuse) 2>/dev/null || echo >/tmp/refused; : </dev/null; n=$((n+1)); done; echo $n >/tmp/count) &',
    );
    const card = await engine.plan(handle, 'card', [CARD], [fuse]);
    for (let round = 0; round < replacements / 2; round++) {
      await engine.grant(handle, card, [fuse]);
      await engine.revoke(handle, card, [fuse]);
    }
    const result = await container.run('rm /tmp/go; wait; test -e /tmp/refused && echo refused; cat /tmp/count');
    expect(Number(result)).toBeGreaterThan(100);
  });
});
