import { readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { CONTROL_ADDRESS, SERVICE_RANGE } from './addresses.ts';
import type { NodePlan } from './node/plan.ts';
import { run } from './run.ts';
import { isDescribed, type StatePaths, statePaths } from './state.ts';

/** Names the folder of the one cluster that may run on this machine: addresses and cgroups are the machine's. */
const CLAIM = '/run/device-mounter-local';

/** The cluster of another folder that has the machine, running or not; `undefined` when it is free or ours. */
export function otherHolder(paths: StatePaths): StatePaths | undefined {
  const holder = claimedBy();
  if (holder === undefined || holder === paths.root) return undefined;
  const other = statePaths({ DEVICE_MOUNTER_STATE: holder });
  return isDescribed(other) ? other : undefined;
}

/** To be called when no other folder's cluster has the machine. */
export function claimMachine(paths: StatePaths): void {
  const holder = claimedBy();
  if (holder === paths.root) return;
  if (holder !== undefined) unlinkSync(CLAIM);
  symlinkSync(paths.root, CLAIM);
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

/** Adds them, and a route to Services, which a machine without a default route would not have. */
export async function addAddresses(nodes: readonly NodePlan[]): Promise<void> {
  for (const address of addressesOf(nodes)) await run('ip', ['address', 'replace', `${address}/32`, 'dev', 'lo']);
  await run('ip', ['route', 'replace', SERVICE_RANGE, 'dev', 'lo', 'src', CONTROL_ADDRESS]);
}

/** The route goes with the address that it names. */
export async function removeAddresses(nodes: readonly NodePlan[]): Promise<void> {
  const present = await run('ip', ['-o', '-4', 'address', 'show', 'dev', 'lo']);
  for (const address of addressesOf(nodes)) {
    if (present.includes(` ${address}/32 `)) await run('ip', ['address', 'del', `${address}/32`, 'dev', 'lo']);
  }
}
