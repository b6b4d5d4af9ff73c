import { existsSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { CONTROL_ADDRESS, TEMPORAL_HOST } from './addresses.ts';
import { run } from './run.ts';

/**
 * A network namespace for Temporal alone. Its development server calls its own services at 127.0.0.1 whatever `--ip` says
 * (CLI 1.8.2, internal/devserver/server.go), so pods reach it only when it listens on every address; here that is this
 * namespace's loopback and `TEMPORAL_HOST`, and nothing of the machine.
 */
const NAME = 'dm-temporal';
export const TEMPORAL_NETWORK = `/run/netns/${NAME}`;

const ip = (...args: string[]): Promise<string> => run('ip', args);
const inside = (...args: string[]): Promise<string> => ip('-n', NAME, ...args);

/** Makes the namespace, with a link to the host. There must be none. */
export async function createTemporalNetwork(): Promise<void> {
  await ip('netns', 'add', NAME);
  await ip('link', 'add', NAME, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', NAME);
  await ip('link', 'set', NAME, 'up');
  await inside('link', 'set', 'lo', 'up');
  await inside('link', 'set', 'eth0', 'up');
  await inside('address', 'add', `${TEMPORAL_HOST}/32`, 'dev', 'eth0');
  await inside('route', 'add', CONTROL_ADDRESS, 'dev', 'eth0');
  await inside('route', 'add', 'default', 'via', CONTROL_ADDRESS);
  await ip('route', 'replace', TEMPORAL_HOST, 'dev', NAME, 'src', CONTROL_ADDRESS);
}

/** Undoes it; the link goes with the namespace. Nothing to undo is fine. */
export async function removeTemporalNetwork(): Promise<void> {
  if (existsSync(`/sys/class/net/${NAME}`)) await ip('link', 'del', NAME);
  if (existsSync(TEMPORAL_NETWORK)) await ip('netns', 'del', NAME);
  // iproute2 mounts the folder of named namespaces on itself, and leaves it.
  const folder = dirname(TEMPORAL_NETWORK);
  if (existsSync(folder) && readdirSync(folder).length === 0) await run('umount', [folder]).catch(() => undefined);
}
