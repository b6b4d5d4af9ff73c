import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Program } from '../../node-worker/cgroup/instruction.ts';
import {
  attachedPrograms,
  attachProgram,
  detachProgram,
  withLoaded,
  withProgram,
} from '../../node-worker/kernel/bpf.ts';
import { withCgroup } from '../../node-worker/kernel/cgroup-v2.ts';
import type { ContainerHandle, Grant } from '../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { ALLOW_ALL, DENY_FUSE, FUSE, policyOf, programsOf } from './devices.ts';
import { engine } from './engine.ts';
import { CGROUP_VERSIONS } from './places.ts';

const MULTI = 2;
let container: TestContainer;
let handle: ContainerHandle;
let before: readonly string[];
let plan: Grant;
beforeAll(cleanUp);
afterAll(cleanUp);
afterEach(async () => {
  handle.close();
  await container.stop();
});

async function startAndGrant(runtime: 'runc' | 'crun', cgroupVersion: 1 | 2): Promise<void> {
  container = await startContainer({ cgroupVersion, runtime });
  handle = await engine.openContainer({ containerId: container.id });
  before = policyOf(container);
  plan = await engine.plan(handle, 'a', [FUSE], []);
  await engine.grant(handle, plan, []);
}
const opens = async (): Promise<boolean> => (await container.run('true </dev/fuse && echo opened')).includes('opened');

async function expectMended(): Promise<void> {
  expect(await opens()).toBe(false);
  expect(await engine.drifted(handle, [plan])).toBe(true);
  await engine.grant(handle, plan, []);
  expect(await opens()).toBe(true);
  expect(await engine.drifted(handle, [plan])).toBe(false);
}

/** What the runtime was told at the start, as containerd sends it again with every update. */
const DEVICES = { devices: [{ allow: false, access: 'rwm' }] };

const RUNTIMES = CGROUP_VERSIONS.flatMap((version) => [['runc', version] as const, ['crun', version] as const]);

describe.each(RUNTIMES)('a container of %s on cgroup v%i', (runtime, cgroupVersion) => {
  test('keeps its device through an update of its resources, or has it mended', async () => {
    await startAndGrant(runtime, cgroupVersion);
    container.update(DEVICES);
    // crun sets the devices again, runc does not.
    if (runtime === 'crun') await expectMended();
    expect(await opens()).toBe(true);
    await engine.revoke(handle, plan, []);
    if (runtime === 'runc') expect(policyOf(container)).toEqual(before);
    expect(await opens()).toBe(false);
  });
});

const attached = (): readonly number[] => withCgroup(container.cgroup, (fd) => attachedPrograms(fd)).ids;
const attach = (program: Program): void =>
  withCgroup(container.cgroup, (cgroupFd) => withLoaded(program, 'other', (fd) => attachProgram(cgroupFd, fd, MULTI)));
const detachAllBut = (name: string): void =>
  withCgroup(container.cgroup, (cgroupFd) => {
    for (const { id } of programsOf(container).filter((one) => one.name !== name))
      withProgram(id, (fd) => detachProgram(cgroupFd, fd));
  });

describe('on cgroup v2, programs that others', () => {
  test('attach beside ours are wrapped too, and are exact again at the end', async () => {
    await startAndGrant('runc', 2);
    attach(DENY_FUSE);
    const own = programsOf(container).find(({ name }) => name === 'other')?.tag;
    await expectMended();
    await engine.revoke(handle, plan, []);
    expect(policyOf(container)).toEqual([...before, own]);
  });

  test('put in the place of ours are wrapped, and are exact again at the end', async () => {
    await startAndGrant('runc', 2);
    attach(DENY_FUSE);
    detachAllBut('other');
    await expectMended();
    await engine.revoke(handle, plan, []);
    expect(programsOf(container).map(({ name }) => name)).toEqual(['other']);
  });

  test('attach and that allow everything are left alone', async () => {
    await startAndGrant('runc', 2);
    attach(ALLOW_ALL);
    const ids = attached();
    expect(await engine.drifted(handle, [plan])).toBe(false);
    expect((await engine.grant(handle, plan, [])).rulesChanged).toBe(0);
    expect(attached()).toEqual(ids);
  });

  test('attach twice are all mended', async () => {
    await startAndGrant('runc', 2);
    for (let count = 0; count < 5; count++) attach(DENY_FUSE);
    await expectMended();
    await engine.revoke(handle, plan, []);
    expect(await opens()).toBe(false);
  });

  test('detach are not missed: the container may open all then, and unmount finds nothing to do', async () => {
    await startAndGrant('runc', 2);
    detachAllBut('');
    expect(attached()).toEqual([]);
    expect(await engine.drifted(handle, [plan])).toBe(false);
    expect(await engine.revoke(handle, plan, [])).toMatchObject({ rulesChanged: 0, nodesRemoved: ['/dev/fuse'] });
  });
});
