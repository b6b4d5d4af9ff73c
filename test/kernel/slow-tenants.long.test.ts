import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { failureOf } from '../../contract/failures.ts';
import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import type { ContainerHandle } from '../../node-worker/kernel/engine.ts';
import { HelperPool } from '../../node-worker/kernel/helper-pool.ts';
import { buildProgram } from './c-program.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { CARD, FUSE, until } from './devices.ts';
import { CROWD, LOCKED_DIRECTORY, SLOW_EXEC } from './slow-programs.ts';

/** What tenants do, by turns: each makes something else slow. */
const ATTACKS = [
  'crowd threads',
  'crowd descriptors',
  'crowd mappings',
  'crowd mounts',
  'slow-exec /tmp/slow',
  'locked-directory /dev',
];
const TENANTS = 50;
const ROUNDS = 20;
/** Far more than a revocation takes, far less than the 5 s of one that is held up. */
const MOST_DELAY_MS = 1_000;
const START_MS = 300_000;

const helpers = new HelperPool();
const engine = createEngine({ helpers });
const tenants: { readonly container: TestContainer; readonly handle: ContainerHandle }[] = [];
let victim: TestContainer;
let handle: ContainerHandle;

beforeAll(async () => {
  cleanUp();
  helpers.start();
  victim = await startContainer({ cgroupVersion: 2 });
  handle = await engine.openContainer({ containerId: victim.id });
}, START_MS);
afterAll(async () => {
  for (const tenant of tenants) {
    tenant.handle.close();
    await tenant.container.stop();
  }
  handle.close();
  await victim.stop();
  cleanUp();
}, START_MS);

async function startTenant(attack: string): Promise<void> {
  const container = await startContainer({
    cgroupVersion: 2,
    capabilities: ['CAP_SYS_ADMIN', 'CAP_SYS_PTRACE'],
    devices: [{ ...FUSE, path: '/tmp/fuse', access: 'rwm' }],
    prepare: (rootfs) => {
      for (const [name, source] of Object.entries(PROGRAMS)) buildProgram(source, join(rootfs, 'bin', name));
    },
  });
  tenants.push({ container, handle: await engine.openContainer({ containerId: container.id }) });
  const said = await container.run(
    `mkdir /tmp/slow; mkfifo /tmp/up; ${attack} >/tmp/up 2>&1 & read said </tmp/up; echo $said`,
  );
  expect(said).toBe('slow\n');
}

const PROGRAMS = { crowd: CROWD, 'slow-exec': SLOW_EXEC, 'locked-directory': LOCKED_DIRECTORY };

/** Milliseconds of a whole revocation, and of that part after which no new open succeeds. */
async function revocation(): Promise<{ readonly wholeMs: number; readonly rulesMs: number }> {
  const plan = await engine.plan(handle, 'victim', [CARD], []);
  await engine.grant(handle, plan, []);
  const begin = performance.now();
  const revoked = engine.revoke(handle, plan, []);
  const rulesMs = performance.now() - begin;
  // Before anything else of this process can have run.
  expect(engine.accessTo(handle, CARD)).not.toMatch(/[rw]/);
  expect(await revoked).toMatchObject({ nodesRemoved: [CARD.path] });
  return { wholeMs: performance.now() - begin, rulesMs };
}

async function revocations(): Promise<{ readonly wholeMs: number; readonly rulesMs: number }> {
  const all = [];
  for (let round = 0; round < ROUNDS; round++) all.push(await revocation());
  return { wholeMs: middle(all.map(({ wholeMs }) => wholeMs)), rulesMs: middle(all.map(({ rulesMs }) => rulesMs)) };
}

const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >>> 1] ?? 0;

test(
  'fifty tenants that are slow at once do not delay the revocation of another',
  async () => {
    const quiet = await revocations();
    for (let index = 0; index < TENANTS; index++) await startTenant(ATTACKS[index % ATTACKS.length] ?? '');
    const over = new AbortController();
    const outcomes = new Map<string, number>();
    const attack = async (tenant: ContainerHandle): Promise<void> => {
      while (!over.signal.aborted) {
        for (const look of [() => engine.usersOf(tenant, [FUSE]), () => engine.plan(tenant, 'x', [CARD], [])]) {
          const outcome = await look().then(
            () => 'answered',
            (err: unknown) => failureOf(err)?.type ?? String(err),
          );
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        }
      }
    };
    const attacks = tenants.map((tenant) => attack(tenant.handle));
    const attacked: Awaited<ReturnType<typeof revocations>>[] = [];
    try {
      attacked.push(await revocations());
      // At first all of them are new; now the engine knows who is slow.
      await until(
        () => outcomes.size,
        (kinds) => kinds > 1,
      );
      attacked.push(await revocations());
    } finally {
      // What goes on would be in the way of all tests that follow.
      over.abort();
      await Promise.all(attacks);
    }
    for (const { rulesMs, wholeMs } of attacked) {
      expect(rulesMs - quiet.rulesMs).toBeLessThan(MOST_DELAY_MS);
      expect(wholeMs - quiet.wholeMs).toBeLessThan(MOST_DELAY_MS);
    }
    expect([...outcomes.keys()].toSorted()).toEqual(['ContainerStuck', 'answered']);
  },
  START_MS,
);
