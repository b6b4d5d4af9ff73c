import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { lacking } from './gpus.ts';

/** `npm run test:gpu`: the tests that need a GPU of NVIDIA. They are never skipped: without one they are refused. */
const problem = lacking();
if (problem !== undefined) {
  console.error(problem);
  process.exit(1);
}
const jest = join(import.meta.dirname, '../../node_modules/jest/bin/jest.js');
const { status } = spawnSync(process.execPath, [jest, '--selectProjects', 'gpu', '--runInBand'], {
  stdio: 'inherit',
  env: { ...process.env, NODE_OPTIONS: '--experimental-vm-modules --no-warnings' },
});
process.exit(status ?? 1);
