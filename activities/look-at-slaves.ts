import type { V1Pod } from '@kubernetes/client-node';
import type { Target } from '../contract/requests.ts';
import { adoptionOf, orphanOf, otherClusterOf } from './adopt-mount.ts';
import type { Dependencies } from './dependencies.ts';
import { type Finding } from './finding.ts';
import type { Owner } from './owners.ts';
import { hasSlaveLabels, isLeftBehind, mountNameOf, refOf, targetOf } from './slave-pod.ts';
import { targetState } from './target.ts';

/** About slaves of one mount and target, of which there is at least one by the watch. */
export async function lookAtSlaves(deps: Dependencies, seen: readonly V1Pod[]): Promise<readonly Finding[]> {
  const name = seen[0] && mountNameOf(seen[0]);
  const owner = name === undefined ? undefined : await deps.owners.describe(seen[0]?.metadata?.namespace ?? '', name);
  const { mount } = owner ?? {};
  const isNeeded = owner?.open === true && (mount === undefined || !seen.some((pod) => isLeftBehind(pod, mount)));
  return isNeeded ? [] : ofLiving(deps, await livingOf(deps, seen), owner);
}

/** The watch may lag behind. */
async function livingOf({ cluster }: Dependencies, seen: readonly V1Pod[]): Promise<readonly V1Pod[]> {
  const pods = await Promise.all(seen.map((pod) => cluster.getPod(refOf(pod))));
  return pods
    .filter(
      (pod, index) =>
        pod?.metadata?.uid === seen[index]?.metadata?.uid && pod?.metadata?.deletionTimestamp === undefined,
    )
    .filter((pod) => pod !== undefined);
}

async function ofLiving(
  deps: Dependencies,
  group: readonly V1Pod[],
  owner: Owner | undefined,
): Promise<readonly Finding[]> {
  const [slave] = group;
  const target = slave && targetOf(slave);
  // What the garbage collector does not tie to a pod is nobody's slave, whatever its labels say.
  if (slave === undefined || target === undefined || !hasSlaveLabels(slave)) return [];
  const name = mountNameOf(slave);
  if (name === undefined) return ofForeign(deps, slave, target);
  const about = aboutOf(group, target, name);
  if (owner?.open === true) {
    const { mount } = owner;
    const stale = mount === undefined ? [] : group.filter((pod) => isLeftBehind(pod, mount));
    if (stale.length === 0) return [];
    const why = 'the mount of that name does not need it';
    return [{ ...about, action: 'delete', why, slaves: stale.map(refOf) }];
  }
  const other = otherClusterOf(deps, group);
  if (other !== undefined) {
    const why = `it was made when this cluster was called "${other}", and unmount frees it`;
    return [{ ...about, action: 'keep', why }];
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

function aboutOf(slaves: readonly V1Pod[], target: Target, mount: string) {
  const node = slaves.map(({ spec }) => spec?.nodeName).find((name) => name !== undefined);
  return { namespace: target.namespace, mount, target, slaves: slaves.map(refOf), ...(node !== undefined && { node }) };
}
