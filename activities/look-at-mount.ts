import type { V1Pod } from '@kubernetes/client-node';
import type { DeviceMount, SlaveRef } from '../contract/device-mount.ts';
import type { DeviceMountObject } from '../contract/device-mount-object.ts';
import type { Target } from '../contract/requests.ts';
import { SIGNALS } from '../contract/workflows.ts';
import type { MountRef } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import type { Finding } from './finding.ts';
import { type NodeState, nodeState } from './node-state.ts';
import type { Owner } from './owners.ts';
import { type Fate, fateOf, isUnconfirmed, whyNotShown } from './settle-mount.ts';
import { mountNameOf } from './slave-pod.ts';
import { endOf, type TargetState, targetState } from './target.ts';

/** A mount whose node is alive, to be asked whether it holds the mount, too. */
export type Mounted = Pick<Finding, 'namespace' | 'mount' | 'target' | 'slaves'> & { readonly node: string };

/** What several mounts ask for is asked once a page. */
export interface Survey {
  readonly deps: Dependencies;
  /** As seen at the beginning. */
  readonly slaves: readonly V1Pod[];
  readonly nodes: Map<string, Promise<NodeState>>;
  readonly mounted: Mounted[];
  readonly unconfirmed: MountRef[];
}

/**
 * About a mount that is open by the visibility store, or that has an object. `listed` is its object by a list that may be minutes old. What it
 * shows otherwise than the owner says is read again, where it can be: the object first, so that the owner's word is never the older one.
 */
export async function lookAtMount(
  survey: Survey,
  ref: MountRef,
  listed: DeviceMountObject | undefined,
): Promise<readonly Finding[]> {
  const { deps, unconfirmed } = survey;
  let object = listed;
  let owner = await deps.owners.describe(ref.namespace, ref.name);
  let fate = await objectFate(survey, object, owner);
  if (fate !== undefined) {
    object = await deps.cluster.getMount(ref).catch(() => listed);
    owner = await deps.owners.describe(ref.namespace, ref.name);
    fate = await objectFate(survey, object, owner);
  }
  const isOpen = owner?.open === true;
  if (fate === undefined && isOpen && object !== undefined && isUnconfirmed(deps, object)) unconfirmed.push(ref);
  const { mount } = owner ?? {};
  const ofDevices = isOpen && mount !== undefined ? await ofOpen(survey, mount) : [];
  const of = isOpen ? mount : object;
  if (fate === undefined || of === undefined) return ofDevices;
  return [...ofDevices, { ...aboutObject(of, fate), ...(isOpen && { signal: SIGNALS.project }) }];
}

/** About the devices of a mount whose object cannot be read. */
export async function lookAtDevices(survey: Survey, { namespace, name }: MountRef): Promise<readonly Finding[]> {
  const owner = await survey.deps.owners.describe(namespace, name);
  return owner?.open === true && owner.mount !== undefined ? ofOpen(survey, owner.mount) : [];
}

/** What is to become of the object of a mount, if it is not as it should be. */
async function objectFate(
  { deps, slaves }: Survey,
  object: DeviceMountObject | undefined,
  owner: Owner | undefined,
): Promise<Pick<Fate, 'action' | 'why'> | undefined> {
  if (owner?.open === true) {
    const why = owner.mount && whyNotShown(deps, owner.mount, object);
    return why === undefined ? undefined : { action: 'project', why };
  }
  if (object === undefined) return undefined;
  const { namespace, name } = object.metadata;
  return fateOf(deps, object, owner, () =>
    slaves.some((pod) => pod.metadata?.namespace === namespace && mountNameOf(pod) === name),
  );
}

function aboutObject(of: DeviceMount | DeviceMountObject, { action, why }: Pick<Fate, 'action' | 'why'>): Finding {
  const { namespace, name } = of.metadata;
  return { namespace, mount: name, action, why, slaves: [], target: targetIn(of) };
}

function targetIn({ metadata: { namespace }, spec }: DeviceMount | DeviceMountObject): Target {
  const { podName: pod, podUid, container } = spec;
  return { namespace, pod, podUid, container };
}

/** About the devices of an open mount. */
async function ofOpen({ deps, nodes, mounted }: Survey, mount: DeviceMount): Promise<readonly Finding[]> {
  if (mount.status.phase !== 'Mounted') return [];
  const { namespace, name } = mount.metadata;
  const target = targetIn(mount);
  const about = { namespace, mount: name, target, slaves: mount.status.slaves, action: 'tell' } as const;
  if ((await stateOfTarget(deps, target)) === 'gone') {
    return [{ ...about, why: 'its target is gone', signal: SIGNALS.targetGone }];
  }
  const { node } = mount.status;
  const state = node === undefined ? undefined : await stateOfNode(deps, nodes, node);
  if (node !== undefined && state === 'gone') {
    return [{ ...about, why: `node ${node} is gone`, signal: SIGNALS.targetGone }];
  }
  // Not those of the list: the mount may be younger than that.
  const suspects = mount.status.slaves.filter((ref) => !isHealthy(deps.slaves.get(ref), ref));
  const slaves = await Promise.all(suspects.map((ref) => deps.cluster.getPod(ref)));
  const gone = suspects.find((ref, index) => !isHealthy(slaves[index], ref));
  if (gone === undefined) {
    if (node !== undefined && state === 'alive') {
      mounted.push({ namespace, mount: name, target, node, slaves: mount.status.slaves });
    }
    return [];
  }
  return [{ ...about, why: 'a slave of it is gone', signal: SIGNALS.slaveEnding, args: [gone.uid] }];
}

async function stateOfTarget({ cluster, targets }: Dependencies, target: Target): Promise<TargetState> {
  const seen = targets.get({ namespace: target.namespace, name: target.pod });
  return seen !== undefined && endOf(seen, target.podUid) === undefined ? 'alive' : targetState(cluster, target);
}

function stateOfNode(deps: Dependencies, nodes: Survey['nodes'], node: string): Promise<NodeState> {
  const known = nodes.get(node) ?? nodeState(deps, node);
  nodes.set(node, known);
  return known;
}

function isHealthy(pod: V1Pod | undefined, { uid }: SlaveRef): boolean {
  const phase = pod?.status?.phase;
  return pod?.metadata?.uid === uid && phase !== 'Failed' && phase !== 'Succeeded';
}
