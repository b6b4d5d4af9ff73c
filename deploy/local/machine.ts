import { existsSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { CONTROL_ADDRESS, POD_RANGE, PORTS } from './addresses.ts';
import { hierarchies } from './cgroup.ts';
import type { NodePlan } from './node/plan.ts';
import { run } from './run.ts';
import { type StatePaths, statePaths } from './state.ts';

/** Names the folder of the one cluster that may run on this machine: addresses and cgroups are the machine's. */
const CLAIM = '/run/device-mounter-local';

/** Throws when a cluster of another folder runs. */
export function claimMachine(paths: StatePaths): void {
  const holder = claimedBy();
  if (holder !== undefined && holder !== paths.root) {
    if (existsSync(statePaths({ DEVICE_MOUNTER_STATE: holder }).description))
      throw new Error(
        `Cannot start: the local cluster of "${holder}" runs on this machine; end it with npm stop there.`,
      );
    unlinkSync(CLAIM);
  }
  if (holder !== paths.root) symlinkSync(paths.root, CLAIM);
}

export function releaseMachine(paths: StatePaths): void {
  if (claimedBy() === paths.root) unlinkSync(CLAIM);
}

function claimedBy(): string | undefined {
  try {
    return readlinkSync(CLAIM);
  } catch {
    return undefined;
  }
}

/** The control plane's address and one per kubelet. */
function addressesOf(nodes: readonly NodePlan[]): string[] {
  return [CONTROL_ADDRESS, ...nodes.map(({ address }) => address)];
}

export async function addAddresses(nodes: readonly NodePlan[]): Promise<void> {
  for (const address of addressesOf(nodes)) await run('ip', ['address', 'replace', `${address}/32`, 'dev', 'lo']);
}

export async function removeAddresses(nodes: readonly NodePlan[]): Promise<void> {
  const present = await run('ip', ['-o', '-4', 'address', 'show', 'dev', 'lo']);
  for (const address of addressesOf(nodes)) {
    if (present.includes(` ${address}/32 `)) await run('ip', ['address', 'del', `${address}/32`, 'dev', 'lo']);
  }
}

/** What of the machine is in the way of a cluster, one sentence each. To be asked while none of ours runs. */
export async function obstacles(nodes: readonly NodePlan[]): Promise<string[]> {
  const found: string[] = [];
  const cgroups = hierarchies().flatMap((hierarchy) =>
    ['kubepods', ...nodes.map(({ name }) => name)].map((name) => join(hierarchy, name)),
  );
  const taken = cgroups.find((folder) => existsSync(folder));
  if (taken !== undefined) found.push(`Another kubelet seems to run here: the cgroup ${taken} exists.`);
  if ((await run('nft', ['list', 'tables'])).includes(' kube-proxy\n'))
    found.push('Another kube-proxy runs here: the nft table kube-proxy exists.');
  if ((await run('ip', ['route', 'show', 'root', POD_RANGE])) !== '')
    found.push(`The pods' addresses are in use: there are routes to ${POD_RANGE}.`);
  const ports = await takenPorts();
  if (ports.length > 0) found.push(`In use: TCP port ${ports.join(', ')}.`);
  return found;
}

/** Ports that cannot be listened on at any address, because somebody listens on all addresses, or on the loopback one. */
async function takenPorts(): Promise<number[]> {
  const ports = Object.values(PORTS);
  const free = await Promise.all(ports.map((port) => canListen('127.0.0.1', port)));
  return ports.filter((_, index) => free[index] === false);
}

function canListen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}
