import { existsSync } from 'node:fs';

/** The suites of `npm test`; each is run by its own `npm run test:<name>`. */
const suite = (name, testMatch, more = {}) => ({
  displayName: name,
  testMatch: testMatch.map((pattern) => `<rootDir>/${pattern}`),
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

/** On a host without cgroup v1 its tests cannot be; `npm test` says so. */
const withoutV1 = existsSync('/sys/fs/cgroup/cgroup.controllers') ? ['-v1\\.test\\.ts$'] : [];

export default {
  projects: [
    suite('unit', [
      '{contract,process,workflows,activities,apiserver,node-worker,device-plugin,cli,deploy,test/unit}/**/*.test.ts',
    ]),
    suite('workflows', ['test/workflows/**/*.test.ts']),
    suite('kernel', ['test/kernel/**/*.test.ts'], {
      testPathIgnorePatterns: withoutV1,
      setupFilesAfterEnv: ['<rootDir>/test/kernel/setup.ts'],
    }),
    suite('e2e', ['test/e2e/**/*.test.ts'], { setupFilesAfterEnv: ['<rootDir>/test/e2e/setup.ts'] }),
  ],
};
