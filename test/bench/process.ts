import { cpSync, readFileSync, symlinkSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { REPOSITORY } from '../../deploy/local/state.ts';
import { stripTypes } from '../../deploy/strip-types.ts';
import { ClusterClaim } from '../../process/cluster-claim.ts';
import { KUBE_SYSTEM } from './kube-api.ts';

/** The runtime of the image. */
export const NODE = join(REPOSITORY, 'node_modules', 'node', 'bin', 'node');
export const CLUSTER_NAME = 'test';

/** MiB of a line of /proc/PID/status. */
export function memoryOf(pid: number, what: 'VmRSS' | 'VmHWM' | 'RssAnon' | 'RssFile'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024;
}

/** Whether a process that serves its health there says that it is ready. */
export function isReady(healthPort: number): Promise<boolean> {
  return new Promise((resolve) => {
    get({ host: '127.0.0.1', port: healthPort, path: '/readyz' }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', () => resolve(false));
  });
}

/** As the control worker does. */
export async function claimCluster(address: string): Promise<void> {
  const connection = await Connection.connect({ address });
  const identity = { name: CLUSTER_NAME, uid: KUBE_SYSTEM };
  await new ClusterClaim(async () => identity, { connection, namespace: 'default' }).claim();
  await connection.close();
}

/** These folders of the code as the image has them: without types. Answers `app`. */
export function shippedCode(app: string, folders: readonly string[]): string {
  for (const name of ['contract', 'process', ...folders, 'package.json']) {
    cpSync(join(REPOSITORY, name), join(app, name), { recursive: true });
  }
  stripTypes(app);
  symlinkSync(join(REPOSITORY, 'node_modules'), join(app, 'node_modules'));
  return app;
}

/** What a file of `deploy/` gives to Node itself where it starts `main`, so that what is measured is what is shipped. */
export function shippedFlags(
  manifest: string,
  main: string,
): { readonly nodeFlags: readonly string[]; readonly env: Readonly<Record<string, string>> } {
  const containers = readFileSync(join(REPOSITORY, 'deploy', manifest), 'utf8').split(/^ +containers:$/m);
  const text = containers.find((each) => each.includes(main)) ?? '';
  const args = (/^ +args: \[(.*)\]$/m.exec(text)?.[1] ?? '').split(', ');
  const variables = text.matchAll(/- \{ name: (MALLOC_\w+|UV_\w+|NODE_\w+OPTIONS), value: "?([^"}]+?)"? \}/g);
  return {
    nodeFlags: args.slice(0, args.indexOf(main)),
    env: Object.fromEntries([...variables].map(([, name, value]) => [name, value])),
  };
}
