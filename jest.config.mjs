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

const WORKFLOWS = { globalSetup: '<rootDir>/test/workflows/global-setup.ts' };

export default {
  projects: [
    suite(
      'unit',
      ['{contract,process,workflows,activities,apiserver,node-worker,device-plugin,cli,deploy,test/unit}/**/*.test.ts'],
      {
        testPathIgnorePatterns: ['\\.kernel\\.test\\.ts$'],
      },
    ),
    suite('workflows', ['test/workflows/**/*.test.ts'], {
      testPathIgnorePatterns: ['\\.long\\.test\\.ts$'],
      ...WORKFLOWS,
    }),
    suite('workflows-long', ['test/workflows/**/*.long.test.ts'], WORKFLOWS),
    suite('kernel', ['node-worker/**/*.kernel.test.ts', 'test/kernel/**/*.test.ts']),
    suite('e2e', ['test/e2e/**/*.test.ts'], { setupFilesAfterEnv: ['<rootDir>/test/e2e/setup.ts'] }),
  ],
};
