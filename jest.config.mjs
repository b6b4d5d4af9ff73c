import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';

/** Tests that only `npm run test:long` runs. */
const LONG = '\\.long\\.test\\.ts$';

/** The suites of `npm test` and `npm run test:long`. */
const suite = (name, testMatch, more = {}) => ({
  displayName: name,
  testMatch: testMatch.map((pattern) => `<rootDir>/${pattern}`),
  testPathIgnorePatterns: [LONG],
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2024', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
    ],
  },
  modulePathIgnorePatterns: ['<rootDir>/.local/'],
  ...more,
});

/** All files of a suite in one, or every `of`th of them, see there. */
const atOnce = (
  name,
  testMatch,
  { testPathIgnorePatterns = [LONG], globals = {}, ...more } = {},
  { part, of } = { part: 1, of: 1 },
) =>
  suite(of === 1 ? `${name}-at-once` : `${name}-at-once-${part}`, ['test/at-once.ts'], {
    ...more,
    globals: { ...globals, testMatch, testPathIgnorePatterns, part, of },
  });

const UNIT = [
  '{contract,process,workflows,activities,apiserver,node-worker,device-plugin,cli,deploy,test/unit,test/chaos,test/bench}/**/*.test.ts',
];

const WORKFLOWS = ['test/workflows/**/*.test.ts'];
const onTemporal = { globalSetup: '<rootDir>/test/workflows/global-setup.ts' };
const onCluster = { setupFilesAfterEnv: ['<rootDir>/test/e2e/setup.ts'] };
const long = (name, testMatch, more = {}) => suite(`${name}-long`, testMatch, { ...more, testPathIgnorePatterns: [] });

/** Those of one node, see test/e2e/lane.ts. */
const lane = (laneNode, more = {}) =>
  suite(laneNode, ['test/e2e/node/**/*.test.ts'], { ...onCluster, globals: { laneNode }, ...more });

/** What these plugins grant is the same whoever manages the cgroups: once for v1 and once for v2. */
const VENDORS = 'test/e2e/node/(ascend|claims|gpu)\\.test\\.ts$';

/** On a host without cgroup v1 its tests cannot be; `npm test` says so. */
const V1 = existsSync('/sys/fs/cgroup/cgroup.controllers') ? ['-v1\\.test\\.ts$'] : [];

/** Likewise on a kernel without btrfs. */
const BTRFS = ['/proc/filesystems', `/lib/modules/${release()}/modules.dep`].some(
  (file) => existsSync(file) && readFileSync(file, 'utf8').includes('btrfs'),
)
  ? []
  : ['/btrfs\\.test\\.ts$'];

const KERNEL = ['test/kernel/**/*.test.ts'];
const onKernelOnly = { testPathIgnorePatterns: [LONG, 'test/kernel/machine/', ...BTRFS] };

/** Those that change settings of the machine's kernel, or need it to themselves. */
const MACHINE = ['test/kernel/machine/*.test.ts'];
const onWholeMachine = { testPathIgnorePatterns: [LONG, ...V1] };

export default {
  // Only detects what hangs: the machine may be slow and stand still for seconds.
  testTimeout: 600_000,
  projects: [
    suite('unit', UNIT),
    atOnce('unit', UNIT),
    // What they prove with few random inputs, with many.
    long(
      'unit',
      [
        '{device-plugin,node-worker/drivers,node-worker/kubelet}/**/*.test.ts',
        '{apiserver/mount-claims,node-worker/kernel/{elf,hami-region}}.test.ts',
      ],
      { globals: { propertyRuns: 10_000 } },
    ),
    // What needs Helm.
    long('chart', ['deploy/**/*.long.test.ts']),
    suite('workflows', WORKFLOWS, onTemporal),
    // Side by side: they wait much.
    atOnce('workflows', WORKFLOWS, onTemporal, { part: 1, of: 2 }),
    atOnce('workflows', WORKFLOWS, onTemporal, { part: 2, of: 2 }),
    long('workflows', ['test/workflows/**/*.long.test.ts'], onTemporal),
    suite('kernel', KERNEL, onKernelOnly),
    atOnce('kernel', KERNEL, onKernelOnly),
    suite('machine', MACHINE, onWholeMachine),
    atOnce('machine', MACHINE, onWholeMachine),
    long('kernel', ['test/kernel/**/*.long.test.ts', 'test/kernel/{agreement,attacks,files-attacks,races}.test.ts'], {
      globals: { raceMs: 5_000, replacements: 4_000 },
    }),
    suite('gpu-kernel', ['test/gpu/kernel.test.ts']),
    suite('gpu-cluster', ['test/gpu/cluster.test.ts'], onCluster),
    lane('node-1'),
    lane('node-2'),
    lane('node-3', { testPathIgnorePatterns: [LONG, VENDORS] }),
    suite('e2e', ['test/e2e/**/*.test.ts'], {
      ...onCluster,
      testPathIgnorePatterns: [LONG, '<rootDir>/test/e2e/node/'],
    }),
    long('e2e', ['test/e2e/**/*.long.test.ts'], onCluster),
  ],
};
