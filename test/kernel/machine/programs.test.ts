import { closeSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { withRules } from '../../../node-worker/cgroup/filter.ts';
import { allow, everything } from '../../../node-worker/cgroup/runtime-rule.ts';
import {
  attachProgram,
  detachProgram,
  linkProgram,
  programInfo,
  replaceInTwoSteps,
  withLoaded,
  withProgram,
} from '../../../node-worker/kernel/bpf.ts';
import { withCgroup } from '../../../node-worker/kernel/cgroup-v2.ts';
import type { ContainerHandle } from '../../../node-worker/kernel/engine.ts';
import { forgetProved } from '../../../node-worker/kernel/recover.ts';
import { cleanUp, startContainer, type TestContainer } from '../container.ts';
import { CARD, DENY_FUSE, FUSE, policyOf, programsOf } from '../devices.ts';
import { engine } from '../engine.ts';
import { restoreSysctls, setSysctls } from '../sysctl.ts';

const MULTI = 2;
const NO_MULTI = 0;
let container: TestContainer;
let handle: ContainerHandle;
beforeAll(cleanUp);
afterAll(cleanUp);
afterEach(async () => {
  restoreSysctls();
  handle.close();
  await container.stop();
});
async function start(runtime: 'runc' | 'crun' = 'runc'): Promise<void> {
  container = await startContainer({ cgroupVersion: 2, runtime });
  handle = await engine.openContainer({ containerId: container.id });
}
const opens = async (): Promise<boolean> => (await container.run('true </dev/fuse && echo opened')).includes('opened');

/** The kernel numbers programs as they are loaded. */
const nextId = (): number => withLoaded(DENY_FUSE, 'count', (fd) => programInfo(fd).id);

/** Devices and rules of a container's own, as its OCI spec has them. */
const SPECS = (['runc', 'crun'] as const).flatMap((runtime) => [
  [runtime, 'a device', { devices: [CARD] }] as const,
  [
    runtime,
    'many rules',
    {
      devices: [CARD, { ...CARD, path: '/dev/loop9', type: 'b', major: 7, minor: 9, access: 'r' }],
      rules: [
        { allow: true, type: 'c', major: 195, minor: 1, access: 'rw' },
        { allow: true, type: 'c', major: 1, minor: 3, access: 'r' },
        { allow: true, type: 'c', major: 4, access: 'rwm' },
        { allow: false, type: 'b', major: 7, minor: 9, access: 'r' },
        { allow: true, type: 'b', major: 8, minor: 1, access: 'mr' },
      ],
    },
  ] as const,
  [
    runtime,
    'all but some',
    {
      privileged: true,
      rules: [{ allow: false, type: 'c', major: 10, minor: 229, access: 'rwm' }],
    },
  ] as const,
]);

describe.each(['runc', 'crun'] as const)('programs of %s', (runtime) => {
  test.each(['0', '1'])('that the kernel blinds (kptr_restrict=%s) are wrapped and restored exactly', async (kptr) => {
    setSysctls({ 'net/core/bpf_jit_harden': '2', 'kernel/kptr_restrict': kptr });
    await start(runtime);
    const before = policyOf(container);
    expect(programsOf(container)[0]?.dump?.some(({ dst }) => dst === 11)).toBe(true);
    const fuse = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, fuse, []);
    const card = await engine.plan(handle, 'b', [CARD], [fuse]);
    await engine.grant(handle, card, [fuse]);
    expect(await opens()).toBe(true);
    await engine.revoke(handle, card, [fuse]);
    expect(await opens()).toBe(true);
    await engine.revoke(handle, fuse, []);
    expect(policyOf(container)).toEqual(before);
  });
});

describe('a program whose instructions the kernel hides', () => {
  beforeEach(() => setSysctls({ 'net/core/bpf_jit_harden': '2', 'kernel/kptr_restrict': '2' }));

  test.each(['runc', 'crun'] as const)('is known by its tag when %s made it for default devices', async (runtime) => {
    await start(runtime);
    const before = policyOf(container);
    expect(programsOf(container)[0]?.dump).toBeUndefined();
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
    expect(await opens()).toBe(true);
    // A worker that starts anew has only the plan.
    forgetProved();
    await engine.grant(handle, plan, []);
    forgetProved();
    await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual(before);
  });

  test.each(SPECS)('is known by its tag when %s made it of a spec with %s', async (runtime, _, more) => {
    container = await startContainer({ cgroupVersion: 2, runtime, ...more });
    handle = await engine.openContainer({ containerId: container.id, spec: container.spec });
    const before = policyOf(container);
    expect(programsOf(container)[0]?.dump).toBeUndefined();
    const fuse = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, fuse, []);
    const twin = await engine.plan(handle, 'b', [{ ...CARD, path: '/dev/b', major: 195 }], [fuse]);
    await engine.grant(handle, twin, [fuse]);
    expect(await opens()).toBe(true);
    // A worker that starts anew has the plans, and nobody tells it the spec.
    handle.close();
    handle = await engine.openContainer({ containerId: container.id });
    forgetProved();
    expect(await engine.drifted(handle, [twin, fuse])).toBe(false);
    forgetProved();
    await engine.revoke(handle, twin, [fuse]);
    expect(await opens()).toBe(true);
    forgetProved();
    await engine.revoke(handle, fuse, []);
    expect(policyOf(container)).toEqual(before);
    expect(await opens()).toBe(false);
  });

  test('is refused when it is another, and nothing is changed', async () => {
    container = await startContainer({ cgroupVersion: 2, devices: [CARD] });
    handle = await engine.openContainer({ containerId: container.id });
    const before = policyOf(container);
    await expect(engine.plan(handle, 'a', [FUSE], [])).rejects.toThrow('the kernel hides its instructions');
    expect(engine.inspect(handle)).toMatchObject({
      policies: [{ readable: false }],
      nodes: expect.arrayContaining([expect.objectContaining({ path: '/dev/dri/card0', access: '?' })]),
    });
    const foreign = await engine.openContainer({
      containerId: container.id,
      spec: [everything(false), allow('c', 226, 1)],
    });
    await expect(engine.plan(foreign, 'a', [FUSE], [])).rejects.toThrow('the kernel hides its instructions');
    foreign.close();
    expect(policyOf(container)).toEqual(before);
    expect(await container.run('ls /dev')).not.toContain('fuse');
  });

  test('is not guessed again and again when no guess was right', async () => {
    container = await startContainer({ cgroupVersion: 2, devices: [CARD] });
    handle = await engine.openContainer({ containerId: container.id });
    const planned = (): Promise<unknown> => engine.plan(handle, 'a', [FUSE], []);
    const first = nextId();
    await expect(planned()).rejects.toThrow('the kernel hides its instructions');
    const second = nextId();
    expect(second - first).toBeGreaterThan(10);
    // Others on this machine load programs, too: one time without them proves it.
    const loaded: number[] = [];
    for (let turn = 0; turn < 10; turn++) {
      const from = nextId();
      await expect(planned()).rejects.toThrow('the kernel hides its instructions');
      loaded.push(nextId() - from);
    }
    expect(Math.min(...loaded)).toBeLessThan(10);
  });
});

test('a program that a link owns is wrapped through the link', async () => {
  await start();
  const link = withCgroup(container.cgroup, (cgroupFd) =>
    withLoaded(DENY_FUSE, 'linked', (fd) => linkProgram(cgroupFd, fd)),
  );
  try {
    const before = policyOf(container);
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
    expect(await opens()).toBe(true);
    await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual(before);
  } finally {
    closeSync(link);
  }
});

test('a program of a cgroup above the container that refuses is left alone, and the mount is refused', async () => {
  await start();
  const above = dirname(container.cgroup);
  const before = policyOf(container);
  const id = withLoaded(DENY_FUSE, 'above', (fd) => {
    withCgroup(above, (cgroupFd) => attachProgram(cgroupFd, fd, MULTI));
    return programInfo(fd).id;
  });
  try {
    await expect(engine.plan(handle, 'a', [FUSE], [])).rejects.toThrow('of a cgroup above the container refuses it');
    await engine.plan(handle, 'a', [CARD], []);
  } finally {
    withProgram(id, (fd) => withCgroup(above, (cgroupFd) => detachProgram(cgroupFd, fd)));
  }
  expect(policyOf(container)).toEqual(before);
});

test('a program that refuses others beside it is replaced with the same flags', async () => {
  await start();
  withCgroup(container.cgroup, (cgroupFd) => {
    for (const { id } of programsOf(container)) withProgram(id, (fd) => detachProgram(cgroupFd, fd));
    withLoaded(DENY_FUSE, 'alone', (fd) => attachProgram(cgroupFd, fd, NO_MULTI));
  });
  const before = policyOf(container);
  const plan = await engine.plan(handle, 'a', [FUSE], []);
  await engine.grant(handle, plan, []);
  expect(await opens()).toBe(true);
  await engine.revoke(handle, plan, []);
  expect(policyOf(container)).toEqual(before);
});

test('a kernel that cannot replace a program at once gets it in two steps, without a refusal in between', async () => {
  await start();
  await container.run('mknod /dev/fuse c 10 229');
  const before = policyOf(container);
  const [old] = programsOf(container);
  if (old?.dump === undefined) throw new Error('no program');
  const { id, dump } = old;
  const wrapped = withRules(dump, [FUSE]);
  await container.run(
    'echo >/tmp/go; (n=0; while test -e /tmp/go; do (: </dev/null) 2>/dev/null || echo >/tmp/refused; n=$((n+1)); done; echo $n >/tmp/count) &',
  );
  withCgroup(container.cgroup, (cgroupFd) =>
    withProgram(id, (oldFd) =>
      withLoaded(wrapped, 'two_steps', (newFd) => {
        for (let round = 0; round < 2000; round++) {
          replaceInTwoSteps(cgroupFd, newFd, oldFd, MULTI);
          replaceInTwoSteps(cgroupFd, oldFd, newFd, MULTI);
        }
        replaceInTwoSteps(cgroupFd, newFd, oldFd, MULTI);
        // As a compare-and-swap: what is not attached any more is not replaced.
        withLoaded(dump, 'late', (lateFd) =>
          expect(() => replaceInTwoSteps(cgroupFd, lateFd, oldFd, MULTI)).toThrow('ENOENT'),
        );
      }),
    ),
  );
  expect(programsOf(container).map(({ name }) => name)).toEqual(['two_steps']);
  expect(await opens()).toBe(true);
  expect(await container.run('rm /tmp/go; wait; test -e /tmp/refused && echo refused; cat /tmp/count')).toMatch(
    /^\d\d+\n$/,
  );
  await engine.revoke(handle, await engine.plan(handle, 'a', [FUSE], []), []);
  expect(policyOf(container)).toEqual(before);
});
