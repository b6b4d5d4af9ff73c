import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { hierarchies } from '../../../deploy/local/cgroup.ts';
import { CLASS, type Program } from '../../../node-worker/cgroup/instruction.ts';
import { disagreements, inspectionReport } from '../../../node-worker/inspect/report.ts';
import { attachProgram, programInfo, withLoaded, withProgram } from '../../../node-worker/kernel/bpf.ts';
import { withCgroup } from '../../../node-worker/kernel/cgroup-v2.ts';
import type { ContainerHandle, Inspection } from '../../../node-worker/kernel/engine.ts';
import { forgetProved, rememberLoaded } from '../../../node-worker/kernel/recover.ts';
import { stableBytes, syscall } from '../../../node-worker/kernel/syscall.ts';
import { cleanUp, type StartOptions, startContainer, type TestContainer } from '../container.ts';
import { ALLOW_ALL, CARD, DENY_FUSE, FUSE, policyOf, programsOf, until } from '../devices.ts';
import { engine } from '../engine.ts';
import { CGROUP_VERSIONS, possible, V2_ROOT } from '../places.ts';
import { restoreSysctls, setSysctls } from '../sysctl.ts';

const MULTI = 2;
const COMMAND = fileURLToPath(new URL('../../../node-worker/inspect.ts', import.meta.url));
const PROBE = 'device-mounter-inspect-';
let container: TestContainer;
let handle: ContainerHandle;
beforeAll(cleanUp);
afterAll(cleanUp);
afterEach(async () => {
  restoreSysctls();
  handle.close();
  await container.stop();
  expect(leftovers()).toEqual([]);
});

async function start(options: StartOptions): Promise<void> {
  container = await startContainer(options);
  handle = await engine.openContainer({ containerId: container.id, lookOnly: true });
}
const leftovers = (): readonly string[] =>
  [...hierarchies(), tmpdir()].flatMap((folder) => readdirSync(folder).filter((name) => name.startsWith(PROBE)));

/** Both answers for a device, `kernel read`. */
function answers({ nodes, others }: Inspection, { major, minor }: { major: number; minor: number }): string {
  const found = [...nodes, ...others].find((device) => device.major === major && device.minor === minor);
  return found === undefined ? 'not asked for' : `${found.kernel} ${found.access}`;
}
const NULL = { major: 1, minor: 3 };

/** What opens of the container itself say, for those of the nodes that it has. */
async function opened(path: string): Promise<boolean> {
  return (await container.run(`true <${path} && echo opened`)).includes('opened');
}

const KINDS: readonly (readonly [string, StartOptions])[] = [
  ['of runc on cgroup v1', { cgroupVersion: 1 }],
  ['of crun on cgroup v1', { cgroupVersion: 1, runtime: 'crun' }],
  ['of runc on cgroup v2', { cgroupVersion: 2 }],
  ['of crun on cgroup v2', { cgroupVersion: 2, runtime: 'crun' }],
  ['with a user namespace', { cgroupVersion: 2, userNamespaceBase: 1_000_000 }],
];

describe.each(possible(KINDS))('inspect() of a container %s', (_, options) => {
  test('answers as the kernel does, before, with and after a grant', async () => {
    await start(options);
    const before = policyOf(container);
    const look = (): Inspection => engine.inspect(handle, [], [FUSE, CARD]);
    const first = look();
    expect([answers(first, FUSE), answers(first, NULL)]).toEqual(['m m', 'rwm rwm']);
    const plan = await engine.plan(handle, 'a', [FUSE, { ...CARD, access: 'r' }], []);
    await engine.grant(handle, plan, []);
    const granted = policyOf(container);
    const second = look();
    expect([answers(second, FUSE), answers(second, CARD)]).toEqual(['rwm rwm', 'rm rm']);
    expect(disagreements(second)).toEqual([]);
    expect(policyOf(container)).toEqual(granted);
    expect(await opened('/dev/fuse')).toBe(true);
    await engine.revoke(handle, plan, []);
    expect(answers(look(), FUSE)).toBe('m m');
    expect(policyOf(container)).toEqual(before);
  });

  test('leaves it as it is: processes, cgroups, nodes', async () => {
    await start(options);
    const line = `ls -a /dev /proc; cat /proc/self/cgroup`;
    const seen = (): string =>
      readFileSync(`${container.cgroup}/cgroup.procs`, 'utf8') + readdirSync(container.cgroup).join();
    const [inside, outside] = [await container.run(line), seen()];
    engine.inspect(handle, [], [FUSE]);
    expect(seen()).toBe(outside);
    expect((await container.run(line)).replaceAll(/\d+/g, '')).toBe(inside.replaceAll(/\d+/g, ''));
  });
});

test('inspect() of a container that may open everything says so', async () => {
  await start({ cgroupVersion: CGROUP_VERSIONS[0] ?? 2, privileged: true });
  expect(answers(engine.inspect(handle, [], [FUSE]), FUSE)).toBe('rwm rwm');
});

describe('inspect() of programs', () => {
  test.each([
    ['0', 'rwm rwm'],
    // Hidden: known by its tag, with the rules of the checkpoint in front.
    ['2', 'rwm rwm'],
  ])('that the kernel blinds (kptr_restrict=%s) knows ours', async (kptr, expected) => {
    setSysctls({ 'net/core/bpf_jit_harden': '2', 'kernel/kptr_restrict': kptr });
    await start({ cgroupVersion: 2 });
    const plan = await engine.plan(handle, 'a', [FUSE], []);
    await engine.grant(handle, plan, []);
    forgetProved();
    const inspection = engine.inspect(handle, [plan], []);
    expect(answers(inspection, FUSE)).toBe(expected);
    expect(inspection.policies).toMatchObject([{ readable: true, ours: [{ major: 10, minor: 229, access: 'rw' }] }]);
  });

  test('that the kernel hides and no runtime makes by default has the kernel’s answer alone', async () => {
    setSysctls({ 'net/core/bpf_jit_harden': '2', 'kernel/kptr_restrict': '2' });
    await start({ cgroupVersion: 2, devices: [{ ...CARD, access: 'rw' }] });
    const inspection = engine.inspect(handle, [], [FUSE]);
    expect(inspection.policies).toMatchObject([{ readable: false }]);
    expect([answers(inspection, CARD), answers(inspection, FUSE)]).toEqual(['rwm ?', 'm ?']);
    expect(disagreements(inspection)).toEqual([]);
  });

  /** r0 = bpf_get_current_uid_gid(); r0 = 1. A dump shows the call as an address of this kernel. */
  const CALLING: Program = [{ code: CLASS.JMP | 0x80, dst: 0, src: 0, off: 0, imm: 15 }, ...ALLOW_ALL];

  test('that this program cannot run has the kernel’s answer alone', async () => {
    await start({ cgroupVersion: 2 });
    withCgroup(container.cgroup, (cgroupFd) =>
      withLoaded(CALLING, 'calling', (fd) => attachProgram(cgroupFd, fd, MULTI)),
    );
    const inspection = engine.inspect(handle, [], [FUSE]);
    expect([answers(inspection, NULL), answers(inspection, FUSE)]).toEqual(['rwm ?', 'm ?']);
    expect(inspectionReport(inspection, [])).toMatch(/"calling" .*\n {2}cannot be read/);
  });

  test('of several, where all must allow, agrees with the kernel', async () => {
    await start({ cgroupVersion: 2, devices: [FUSE] });
    expect(answers(engine.inspect(handle), FUSE)).toBe('rwm rwm');
    withCgroup(container.cgroup, (cgroupFd) =>
      withLoaded(DENY_FUSE, 'other', (fd) => attachProgram(cgroupFd, fd, MULTI)),
    );
    expect(answers(engine.inspect(handle), FUSE)).toBe(' ');
    expect(await opened('/dev/fuse')).toBe(false);
  });

  test('that was read wrongly is a disagreement', async () => {
    await start({ cgroupVersion: 2 });
    const [program] = programsOf(container);
    if (program === undefined) throw new Error('the container has no program');
    rememberLoaded(withProgram(program.id, programInfo), ALLOW_ALL);
    try {
      const inspection = engine.inspect(handle, [], [FUSE]);
      expect(answers(inspection, FUSE)).toBe('m rwm');
      expect(disagreements(inspection).length).toBeGreaterThan(0);
      expect(inspectionReport(inspection, [])).toMatch(/agreement {2}NO[^]*c 10:229 {2}m {7}rwm {3}DISAGREEMENT/);
    } finally {
      forgetProved();
    }
  });
});

const inspect = (...words: readonly string[]) =>
  spawnSync(process.execPath, [COMMAND, 'inspect', ...words], { encoding: 'utf8' });

describe('device-mounter-node inspect', () => {
  test.each(CGROUP_VERSIONS)('on cgroup v%i prints both answers and ends with 0', async (cgroupVersion) => {
    await start({ cgroupVersion });
    const { status, stdout, stderr } = inspect(container.id, '--state-dir', '/nonexistent');
    expect(stderr).toBe('');
    expect(stdout).toContain('agreement  yes');
    expect(stdout).toMatch(/\/dev\/null +c 1:3 +rwm +rwm +not ours/);
    expect(stdout).toMatch(/without a node[^]*\/dev\/\S+ +c 10:200 +rwm +rwm/);
    expect(status).toBe(0);
  });

  test('does not thaw a container that a killed worker has left frozen', async () => {
    await start({ cgroupVersion: 2 });
    const frozen = (): string => readFileSync(`${container.cgroup}/cgroup.events`, 'utf8');
    const mark = stableBytes(1);
    syscall('setxattr', [container.cgroup, 'trusted.device_mounter.frozen', mark, 1, 0]);
    writeFileSync(`${container.cgroup}/cgroup.freeze`, '1');
    try {
      await until(frozen, (events) => events.includes('frozen 1'));
      expect(inspect(container.id).status).toBe(0);
      expect(frozen()).toContain('frozen 1');
    } finally {
      (await engine.openContainer({ containerId: container.id })).close();
      await until(frozen, (events) => events.includes('frozen 0'));
    }
  });

  test('ends with 2 when there is no such container', async () => {
    await start({ cgroupVersion: 2 });
    const { status, stdout, stderr } = inspect('f'.repeat(64));
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain('no cgroup with a process in it has its name');
  });

  test('removes what a killed one has left', async () => {
    await start({ cgroupVersion: 2 });
    const left = spawnSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }).stdout.trim();
    const cgroup = join(V2_ROOT, `${PROBE}${left}`);
    mkdirSync(cgroup);
    try {
      expect(inspect(container.id).status).toBe(0);
      expect(leftovers()).toEqual([]);
    } finally {
      if (leftovers().length > 0) rmdirSync(cgroup);
    }
  });
});
