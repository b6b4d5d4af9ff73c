import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const MAKE = join(import.meta.dirname, 'namespace.ts');
/** File systems that end with the namespace, on the places where the machine would get folders. */
const PRIVATE = ['/run', '/var/lib', '/var/log', '/mnt'].map((folder) => `mount -t tmpfs test ${folder}`);

const CPUS = cpus().map((_, cpu) => String(cpu));

test.each(CPUS)('createNamespace() works in a mount namespace made by CPU %s, whichever makes the next', (first) => {
  const script = `mount --make-rprivate / && ${PRIVATE.join(' && ')} && exec "$@"`;
  const make = ['sh', '-c', script, 'sh', process.execPath, '--no-warnings', MAKE, '/mnt/state'];
  for (const next of CPUS) {
    const command = ['--cpu-list', first, 'unshare', '--mount', 'taskset', '--cpu-list', next, ...make];
    const shown = execFileSync('taskset', command, { encoding: 'utf8' });
    expect(shown).toBe('/state/node-1/kubelet\n/state/node-2/kubelet\n');
  }
});
