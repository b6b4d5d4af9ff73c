import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { removeTree } from '../../deploy/local/cgroup.ts';
import { findCgroupRoots } from '../../node-worker/kernel/cgroup-roots.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { NAME } from './places.ts';

const COMMAND = fileURLToPath(new URL('../../node-worker/inspect.ts', import.meta.url));
/** Where the agent is, as a pod of the kubelet's that is not privileged would be. */
const { v1Devices, v2 } = findCgroupRoots();
const PLACES = [v1Devices, v2].filter((root) => root !== undefined).map((root) => join(root, NAME, 'agent'));
let container: TestContainer;
beforeAll(async () => {
  cleanUp();
  container = await startContainer({ cgroupVersion: 2 });
  for (const place of PLACES) mkdirSync(place, { recursive: true });
});
afterAll(async () => {
  await container.stop();
  for (const place of PLACES) removeTree(place);
  cleanUp();
});

/** Runs the agent's own code in its cgroups, behind `command`. */
function agent(...command: readonly string[]): { readonly status: number | null; readonly stderr: string } {
  const enter = PLACES.map((place) => `echo $$ >${place}/cgroup.procs`).join(' && ');
  const script = `${enter} && exec "$@"`;
  const args = ['-c', script, 'sh', ...command, process.execPath, COMMAND, 'inspect', container.id];
  return spawnSync('sh', args, { encoding: 'utf8' });
}

test('an agent in the cgroup namespace of the host finds containers', () => {
  expect(agent()).toMatchObject({ status: 0, stderr: '' });
});

test('an agent in a cgroup namespace of its own is refused, and told what it needs', () => {
  const { status, stderr } = agent('unshare', '--cgroup');
  expect(status).toBe(2);
  expect(stderr).toBe(
    "Cannot find containers: this process must be in the host's cgroup and pid namespaces (privileged and hostPID: true), is in a cgroup namespace of its own\n",
  );
});
