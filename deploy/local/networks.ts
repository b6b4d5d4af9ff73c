import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CONTROL_ADDRESS } from './addresses.ts';
import { run } from './run.ts';

const FOLDER = '/run/netns';

/**
 * The network namespace of Temporal alone. Its development server calls its own services at 127.0.0.1 whatever `--ip` says
 * (CLI 1.8.2, internal/devserver/server.go), so pods reach it only when it listens on every address; here that is this
 * namespace's loopback and `TEMPORAL_HOST`, and nothing of the machine.
 */
export const TEMPORAL_NETWORK = networkFile('dm-temporal');

/** The file of a network namespace, for `ServerSpec.networkNamespace`. */
export function networkFile(name: string): string {
  return join(FOLDER, name);
}

const nameOf = (file: string): string => file.slice(FOLDER.length + 1);
const ip = (...args: string[]): Promise<string> => run('ip', args);

/** Makes a network namespace whose one `address` reaches the machine and, through it, others like it. There must be none. */
export async function createNetwork(file: string, address: string): Promise<void> {
  const name = nameOf(file);
  const inside = (...args: string[]): Promise<string> => ip('-n', name, ...args);
  await ip('netns', 'add', name);
  await ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  await ip('link', 'set', name, 'up');
  await inside('link', 'set', 'lo', 'up');
  await inside('link', 'set', 'eth0', 'up');
  await inside('address', 'add', `${address}/32`, 'dev', 'eth0');
  await inside('route', 'add', CONTROL_ADDRESS, 'dev', 'eth0');
  await inside('route', 'add', 'default', 'via', CONTROL_ADDRESS);
  await ip('route', 'replace', address, 'dev', name, 'src', CONTROL_ADDRESS);
}

/** Undoes it. Nothing to undo is fine. */
export async function removeNetwork(file: string): Promise<void> {
  const name = nameOf(file);
  const links = JSON.parse(await ip('-j', 'link', 'show', 'type', 'veth')) as readonly { readonly ifname?: string }[];
  if (links.some(({ ifname }) => ifname === name)) await ip('link', 'del', name);
  if (existsSync(file)) await ip('netns', 'del', name);
  // iproute2 mounts the folder of named namespaces on itself, and leaves it.
  const folder = dirname(file);
  if (existsSync(folder) && readdirSync(folder).length === 0) await run('umount', [folder]).catch(() => undefined);
}
