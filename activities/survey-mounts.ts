import type { V1Pod } from '@kubernetes/client-node';
import type { DeviceMount, SlaveRef } from '../contract/device-mount.ts';
import type { Target } from '../contract/requests.ts';
import { type ReconcileFinding, SIGNALS } from '../contract/workflows.ts';
import { type Adoption, adoptionOf, orphanOf } from './adopt-mount.ts';
import type { Dependencies } from './dependencies.ts';
import { nodeState } from './node-state.ts';
import { hasSlaveLabels, isLeftBehind, mountNameOf, SLAVE_SELECTOR, targetOf } from './slave-pod.ts';
import { targetState } from './target-state.ts';

/** A finding with what it takes to act on it. */
export type Finding = Omit<ReconcileFinding, 'slaves'> & {
  readonly slaves: readonly SlaveRef[];
  readonly target: Target;
  /** Where the slaves are; absent before they are scheduled. */
  readonly node?: string;
  /** To `adopt` with. */
  readonly adoption?: Adoption;
  /** Of what is to be `free`d, for the target, when its slaves carry a request that was signed. */
  readonly orphan?: Adoption;
  /** To `tell`. */
  readonly signal?: string;
};

/** Calls to Kubernetes and Temporal at a time. */
const AT_ONCE = 8;

/**
 * Looks for what is not as its owner would have it. Temporal's visibility store and labels only say where to look: owners
 * are looked up by the ID derived from the mount's name, slaves by their derived name and their ownerReference.
 */
export async function surveyMounts(deps: Dependencies): Promise<readonly Finding[]> {
  const [{ items }, open] = await Promise.all([deps.cluster.listPods(SLAVE_SELECTOR), deps.owners.all()]);
  const slaves = items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
  const groups = [...Map.groupBy(slaves, keyOf).values()];
  const ofSlaves = await mapSome(groups, (group) => ofGroup(deps, group));
  const ofOwners = await mapSome(open, (mount) => ofOwner(deps, mount));
  return [...ofSlaves.flat(), ...ofOwners.flat()];
}

function keyOf(slave: V1Pod): string {
  const { namespace = '', name = '' } = slave.metadata ?? {};
  return `${namespace}/${mountNameOf(slave) ?? `foreign ${name}`}/${targetOf(slave)?.podUid ?? ''}`;
}

/** About slaves of one mount and target, of which there is at least one. */
async function ofGroup(deps: Dependencies, group: readonly V1Pod[]): Promise<readonly Finding[]> {
  const [slave] = group;
  const target = slave && targetOf(slave);
  // What the garbage collector does not tie to a pod is nobody's slave, whatever its labels say.
  if (slave === undefined || target === undefined || !hasSlaveLabels(slave)) return [];
  const name = mountNameOf(slave);
  if (name === undefined) return ofForeign(deps, slave, target);
  const owner = await deps.owners.describe(target.namespace, name);
  const about = aboutOf(group, target, name);
  if (owner?.open === true) {
    const { mount } = owner;
    const stale = mount === undefined ? [] : group.filter((pod) => isLeftBehind(pod, mount));
    if (stale.length === 0) return [];
    const why = 'the mount of that name does not need it';
    return [{ ...about, action: 'delete', why, slaves: stale.map(refOf) }];
  }
  const orphan = orphanOf(deps, group, target, name);
  const free = { ...about, action: 'free', ...(orphan !== undefined && { orphan }) } as const;
  if (owner !== undefined) return [{ ...free, why: 'its workflow has closed' }];
  const adoption = await adoptionOf(deps, group, target, name);
  if (typeof adoption === 'string') return [{ ...free, why: `it has no workflow and ${adoption}` }];
  return [{ ...about, action: 'adopt', why: 'Temporal does not know its workflow', adoption }];
}

/** The original device-mounter keeps no record of who asked for what, so that its mounts cannot get an owner. */
async function ofForeign(deps: Dependencies, slave: V1Pod, target: Target): Promise<readonly Finding[]> {
  const about = aboutOf([slave], target, slave.metadata?.name ?? '');
  if ((await targetState(deps.cluster, target)) === 'gone') {
    return [{ ...about, action: 'delete', why: 'the target of this foreign slave is gone' }];
  }
  return [{ ...about, action: 'keep', why: 'it is of the original device-mounter, and unmount frees it' }];
}

/** About a mount that is open by the visibility store. */
async function ofOwner(
  deps: Dependencies,
  { metadata: { namespace, name } }: DeviceMount,
): Promise<readonly Finding[]> {
  const owner = await deps.owners.describe(namespace, name);
  const mount = owner?.open === true ? owner.mount : undefined;
  if (mount?.status.phase !== 'Mounted') return [];
  const { podName: pod, podUid, container } = mount.spec;
  const target = { namespace, pod, podUid, container };
  const about = { namespace, mount: name, target, slaves: mount.status.slaves, action: 'tell' } as const;
  if ((await targetState(deps.cluster, target)) === 'gone') {
    return [{ ...about, why: 'its target is gone', signal: SIGNALS.targetGone }];
  }
  const { node } = mount.status;
  if (node !== undefined && (await nodeState(deps, node)) === 'gone') {
    return [{ ...about, why: `node ${node} is gone`, signal: SIGNALS.targetGone }];
  }
  // Not those of the list: the mount may be younger than that.
  const slaves = await Promise.all(mount.status.slaves.map((ref) => deps.cluster.getPod(ref)));
  if (mount.status.slaves.every((ref, index) => isHealthy(slaves[index], ref))) return [];
  return [{ ...about, why: 'a slave of it is gone', signal: SIGNALS.slaveEnding }];
}

function isHealthy(pod: V1Pod | undefined, { uid }: SlaveRef): boolean {
  const phase = pod?.status?.phase;
  return pod?.metadata?.uid === uid && phase !== 'Failed' && phase !== 'Succeeded';
}

function aboutOf(slaves: readonly V1Pod[], target: Target, mount: string) {
  const node = slaves.map(({ spec }) => spec?.nodeName).find((name) => name !== undefined);
  return { namespace: target.namespace, mount, target, slaves: slaves.map(refOf), ...(node !== undefined && { node }) };
}

function refOf({ metadata }: V1Pod): SlaveRef {
  return { namespace: metadata?.namespace ?? '', name: metadata?.name ?? '', uid: metadata?.uid ?? '' };
}

async function mapSome<T, R>(items: readonly T[], step: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(start, start + AT_ONCE).map(step))));
  }
  return results;
}
