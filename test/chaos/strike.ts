import { SLAVE_LABELS } from '../../contract/names.ts';
import { identityOf } from '../../deploy/local/identity.ts';
import type { NodeServer } from '../../deploy/local/server.ts';
import { CLUSTER, NODES } from '../e2e/cluster.ts';
import { containerPid } from '../e2e/device-state.ts';
import { listPath } from '../e2e/kube.ts';
import { podPath } from '../e2e/pods.ts';
import { NAMESPACE } from './calls.ts';
import { type FaultKind, partOf } from './faults.ts';
import type { Frozen } from './frozen.ts';
import type { Struck } from './history.ts';
import type { Keeper } from './keeper.ts';
import { type ProductPart, productProcesses, SCRIPTS } from './processes.ts';
import type { PlannedFault } from './schedule.ts';
import { ROLE_LABEL } from './targets.ts';

/** What was hit, and how it goes on again; nothing when there was nothing to hit. */
export interface Strike extends Pick<Struck, 'hit' | 'pod'> {
  readonly release?: () => void;
}

/** Names in faults of what `Cluster.servers` holds. */
const SERVERS = {
  Temporal: 'temporal',
  etcd: 'etcd',
  'kube-apiserver': 'kube-apiserver',
  'kube-scheduler': 'kube-scheduler',
  'kube-controller-manager': 'kube-controller-manager',
} as const;

const REQUEST_MS = 5_000;
/** Of deletions that do not leave the pod its own grace period. */
const GRACE_SECONDS: Partial<Record<FaultKind, number>> = {
  'delete slave by force': 0,
  'delete slave within a second': 1,
};
const NOTHING: Strike = {};

export class Striker {
  readonly #keeper: Keeper;
  readonly #frozen: Frozen;

  constructor(keeper: Keeper, frozen: Frozen) {
    this.#keeper = keeper;
    this.#frozen = frozen;
  }

  /** Does what the schedule says, now. */
  async strike(fault: PlannedFault): Promise<Strike> {
    const part = partOf(fault.kind);
    if (part === 'slave' || part === 'target') return this.#strikePod(fault, part);
    if (part in SCRIPTS) return this.#strikeProduct(fault, part as ProductPart);
    return this.#strikeServer(fault, part);
  }

  #strikeProduct({ kind, node, which }: PlannedFault, part: ProductPart): Strike {
    const processes = productProcesses(CLUSTER.paths.root).filter((each) => each.part === part);
    const process = oneOf(
      processes
        .filter((each) => node === undefined || each.node === node)
        .toSorted((a, b) => a.node.localeCompare(b.node)),
      which,
    );
    if (process === undefined) return NOTHING;
    return this.#hit(kind, process.identity.pid, `${part} on ${process.node}`);
  }

  async #strikeServer({ kind, node: name, holdMs }: PlannedFault, part: string): Promise<Strike> {
    const node = NODES.find((each) => each.name === name);
    const server: NodeServer | undefined =
      node === undefined
        ? CLUSTER.servers[SERVERS[part as keyof typeof SERVERS]]
        : node[part as 'kubelet' | 'containerd'];
    const pid = server?.pid();
    if (server === undefined || pid === undefined) return NOTHING;
    if (kind.startsWith('freeze')) return this.#hit(kind, pid, server.name);
    await this.#keeper.kill(server, holdMs);
    return { hit: `${server.name}, pid ${pid}` };
  }

  #hit(kind: FaultKind, pid: number, name: string): Strike {
    const identity = identityOf(pid);
    if (identity === undefined) return NOTHING;
    const hit = `${name}, pid ${pid}`;
    if (kind.startsWith('freeze')) {
      this.#frozen.freeze(identity);
      return { hit, release: () => this.#frozen.release(identity) };
    }
    process.kill(pid, 'SIGKILL');
    return { hit };
  }

  async #strikePod({ kind, node = '', which }: PlannedFault, part: 'slave' | 'target'): Promise<Strike> {
    const pod = oneOf(await podsOf(part, node), which);
    if (pod === undefined) return NOTHING;
    const { name } = pod.metadata;
    const target = part === 'target' ? name : pod.metadata.labels?.[SLAVE_LABELS.ownerName];
    const done = await hitPod(kind, name);
    return done ? { hit: name, ...(target !== undefined && { pod: target }) } : NOTHING;
  }
}

interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly nodeName?: string };
}

/** Those on a node that are not ending, as kube-apiserver knows them; none when it does not answer. */
async function podsOf(part: 'slave' | 'target', node: string): Promise<readonly Pod[]> {
  const labelSelector = part === 'slave' ? `${SLAVE_LABELS.managedBy}=device-mounter` : `${ROLE_LABEL}=target`;
  const query = { labelSelector, fieldSelector: `spec.nodeName=${node}` };
  const list = (await CLUSTER.api.find(listPath(NAMESPACE, 'pods', query))) as
    | { readonly items: readonly Pod[] }
    | undefined;
  return (list?.items ?? [])
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .toSorted((a, b) => a.metadata.name.localeCompare(b.metadata.name));
}

async function hitPod(kind: FaultKind, name: string): Promise<boolean> {
  try {
    if (kind.startsWith('kill')) {
      process.kill(await containerPid(name), 'SIGKILL');
      return true;
    }
    const { status } = await requestOf(kind, name);
    return status < 300;
  } catch {
    // It has ended, has not begun, or kube-apiserver does not answer.
    return false;
  }
}

function requestOf(kind: FaultKind, name: string): ReturnType<typeof CLUSTER.api.send> {
  if (kind.startsWith('evict')) {
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: NAMESPACE } };
    return CLUSTER.api.send('POST', `${podPath(name)}/eviction`, body, REQUEST_MS);
  }
  const graceSeconds = GRACE_SECONDS[kind];
  const query = graceSeconds === undefined ? '' : `?gracePeriodSeconds=${graceSeconds}`;
  return CLUSTER.api.send('DELETE', `${podPath(name)}${query}`, undefined, REQUEST_MS);
}

function oneOf<T>(list: readonly T[], which: number): T | undefined {
  return list[Math.floor(which * list.length)];
}
