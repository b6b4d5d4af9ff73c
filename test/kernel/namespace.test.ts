import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const MAKE = join(import.meta.dirname, 'namespace.ts');
/** File systems that end with the namespace, on the places where the machine would get folders. */
const PRIVATE = ['/run', '/var/lib', '/var/log', '/mnt'].map((folder) => `mount -t tmpfs test ${folder}`);

test.each(cpus().map((_, cpu) => [cpu]))('createNamespace() works in a mount namespace made by CPU %i', (cpu) => {
  const script = `mount --make-rprivate / && ${PRIVATE.join(' && ')} && exec "$@"`;
  const make = ['sh', '-c', script, 'sh', process.execPath, '--no-warnings', MAKE, '/mnt/state'];
  // The kernel numbers it as one of that CPU; afterwards any may be used.
  const command = ['--cpu-list', String(cpu), 'unshare', '--mount', 'taskset', '--cpu-list', `0-${cpus().length - 1}`];
  const shown = execFileSync('taskset', [...command, ...make], { encoding: 'utf8' });
  expect(shown).toBe('/state/node-1/kubelet\n\n/state/node-2/kubelet\n\n');
});
