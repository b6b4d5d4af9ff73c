import { existsSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { join } from 'node:path';
import { CONTROL_ADDRESS, POD_RANGE, PORTS, SERVICE_RANGE, TEMPORAL_HOST } from './addresses.ts';
import { hierarchies, KUBELET_CGROUPS } from './cgroup.ts';
import type { NodePlan } from './node/plan.ts';
import { run } from './run.ts';

/** What of the machine is in the way of a cluster, one sentence each. To be asked while none of ours runs; nothing is changed. */
export async function obstacles(nodes: readonly NodePlan[]): Promise<string[]> {
  const found = [
    ...cgroupsInUse(hierarchies(), nodes),
    ...(await tablesInUse()),
    ...(await routesInUse(nodes)),
    ...(await portsInUse(nodes)),
  ];
  return [...new Set(found)];
}

export function cgroupsInUse(roots: readonly string[], nodes: readonly Pick<NodePlan, 'name'>[]): string[] {
  const names = [...KUBELET_CGROUPS, ...nodes.map(({ name }) => name)];
  const taken = roots.flatMap((root) => names.map((name) => join(root, name))).find((folder) => existsSync(folder));
  if (taken === undefined) return [];
  return [
    `Another kubelet seems to run here: the cgroup ${taken} exists. If none does, remove it: find ${taken} -depth -type d -delete`,
  ];
}

async function tablesInUse(): Promise<string[]> {
  const tables = await run('nft', ['list', 'tables']);
  return tables.includes(' kube-proxy\n') ? ['Another kube-proxy runs here: the nft table kube-proxy exists.'] : [];
}

interface Route {
  readonly dst: string;
  readonly dev?: string;
  /** `local` for an address of this machine. */
  readonly type?: string;
}

/** Bits of a prefix that is a default route in two or more parts, as VPNs make it. */
const DEFAULT_BITS = 7;

/** Routes and addresses that share a single address with the cluster; addresses are routes of type `local`. */
async function routesInUse(nodes: readonly NodePlan[]): Promise<string[]> {
  const ours = [CONTROL_ADDRESS, TEMPORAL_HOST, ...nodes.map(({ address }) => address), POD_RANGE, SERVICE_RANGE];
  const routes = JSON.parse(await run('ip', ['-j', '-4', 'route', 'show', 'table', 'all'])) as readonly Route[];
  return routes.flatMap(({ dst, dev, type }) => {
    const range = ours.find((own) => isPrefix(dst) && overlap(own, dst));
    if (range === undefined) return [];
    const where = dev === undefined ? dst : `${dst} on ${dev}`;
    return [
      type === 'local'
        ? `The address ${where} lies in ${range}, which the cluster uses.`
        : `The route to ${where} overlaps ${range}, which the cluster uses.`,
    ];
  });
}

const bitsOf = (prefix: string): number => Number(prefix.split('/')[1] ?? 32);

function isPrefix(text: string): boolean {
  return isIP(text.split('/')[0] ?? '') === 4 && bitsOf(text) > DEFAULT_BITS;
}

/** Of two prefixes that overlap one holds the other's first address. */
function overlap(one: string, other: string): boolean {
  return holds(one, other) || holds(other, one);
}

function holds(range: string, prefix: string): boolean {
  const [address = '', first = ''] = [range, prefix].map((text) => text.split('/')[0]);
  const list = new BlockList();
  list.addSubnet(address, bitsOf(range));
  return list.check(first);
}

/** `address port` of everything that will listen. */
function endpoints(nodes: readonly NodePlan[]): readonly (readonly [string, number])[] {
  const { apiserver, kubelet, ...loopback } = PORTS;
  return [
    [CONTROL_ADDRESS, apiserver],
    ...nodes.map(({ address }) => [address, kubelet] as const),
    ...Object.values(loopback).map((port) => ['127.0.0.1', port] as const),
  ];
}

/** A socket of `ss -Hltnp`: `LISTEN 0 511 0.0.0.0:8080 0.0.0.0:* users:(("nginx",pid=7,fd=6))`. */
const LISTENER = /^LISTEN +\d+ +\d+ +(\S+):(\d+) +\S+(?: +users:\(\("([^"]*)",pid=(\d+))?/;

/** Whoever listens on all addresses listens on ours too. */
async function portsInUse(nodes: readonly NodePlan[]): Promise<string[]> {
  const needed = endpoints(nodes);
  const lines = (await run('ss', ['-Hltnp'])).split('\n');
  return lines.flatMap((line) => {
    const [, address = '', port, name, pid] = LISTENER.exec(line) ?? [];
    const isWild = ['0.0.0.0', '*', '[::]'].includes(address);
    if (!needed.some(([own, number]) => String(number) === port && (isWild || own === address))) return [];
    const holder = name === undefined ? '' : ` by ${name} (pid ${pid})`;
    return [`TCP port ${port} on ${address} is in use${holder}.`];
  });
}
