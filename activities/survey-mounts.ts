import type { V1Pod } from '@kubernetes/client-node';
import type { DeviceMount, SlaveRef } from '../contract/device-mount.ts';
import type { DeviceMountObject } from '../contract/device-mount-object.ts';
import type { Target } from '../contract/requests.ts';
import { type ReconcileFinding, SIGNALS } from '../contract/workflows.ts';
import { type Adoption, adoptionOf, orphanOf, otherClusterOf } from './adopt-mount.ts';
import type { MountRef } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import { idOf, type MountObjects, mountObjects } from './mount-objects.ts';
import { type NodeState, nodeState } from './node-state.ts';
import type { Owner } from './owners.ts';
import { AT_ONCE, type Fate, fateOf, isUnconfirmed, whyNotShown } from './settle-mount.ts';
import { hasSlaveLabels, isLeftBehind, mountNameOf, SLAVE_SELECTOR, targetOf } from './slave-pod.ts';
import { endOf, type TargetState, targetState } from './target.ts';

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
  /** To `tell`, or to have it `project`ed by its owner, and what it brings. */
  readonly signal?: string;
  readonly args?: readonly string[];
};

/** A mount whose node is alive, to be asked whether it holds the mount, too. */
export type Mounted = Pick<Finding, 'namespace' | 'mount' | 'target' | 'slaves'> & { readonly node: string };

export interface SurveyInput {
  /** `next` of the page before. */
  readonly after?: string;
}

/** As much of a survey as fits into an answer of Temporal, and is repaired at a time. */
export interface SurveyPage {
  readonly findings: readonly Finding[];
  /** What is mounted and well, as far as can be seen from here. */
  readonly mounted?: readonly Mounted[];
  /** Whose objects show them, which was last said long ago. */
  readonly unconfirmed?: readonly MountRef[];
  /** Where the next page begins, if this is not the last. */
  readonly next?: string;
}

/** Each may carry a signed request of some KiB; Temporal takes 2 MiB. */
const PAGE_FINDINGS = 50;
const PAGE_MOUNTED = 500;
/** Less than the step may take. */
const PAGE_MS = 20_000;

/** What is looked at by itself. */
interface Subject {
  readonly key: string;
  readonly namespace: string;
  readonly mount: string;
  readonly look: (survey: Survey) => Promise<readonly Finding[]>;
}

/** What several mounts ask for is asked once a page. */
interface Survey {
  readonly deps: Dependencies;
  readonly objects: MountObjects['byId'];
  /** As seen at the beginning. */
  readonly slaves: readonly V1Pod[];
  readonly nodes: Map<string, Promise<NodeState>>;
  readonly mounted: Mounted[];
  readonly unconfirmed: MountRef[];
}

/**
 * Looks for what is not as its owner would have it. Temporal's visibility store, labels and the watches only say where to look:
 * owners are looked up by the ID derived from the mount's name, slaves by their derived name and their ownerReference, and
 * whatever the watches show otherwise than it should be is asked for again.
 */
export async function surveyMounts(deps: Dependencies, { after = '' }: SurveyInput = {}): Promise<SurveyPage> {
  const mounted: Mounted[] = [];
  const { slaves: watched, cluster, owners } = deps;
  const [slaves, { byId: objects, problem }, open] = await Promise.all([
    watched.synced ? watched.all() : cluster.listPods(SLAVE_SELECTOR).then(({ items }) => items),
    mountObjects(deps),
    owners.all(),
  ]);
  const unconfirmed: MountRef[] = [];
  const survey: Survey = { deps, slaves, objects, nodes: new Map(), mounted, unconfirmed };
  const subjects = subjectsOf(survey, open).filter(({ key }) => key > after);
  const findings = problem === undefined ? [] : [notRead(problem)];
  const endsAtMs = Date.now() + PAGE_MS;
  for (let start = 0; start < subjects.length; start += AT_ONCE) {
    const some = subjects.slice(start, start + AT_ONCE);
    findings.push(...(await Promise.all(some.map((subject) => lookAt(survey, subject)))).flat());
    const isFull =
      findings.length >= PAGE_FINDINGS || [mounted, unconfirmed].some(({ length }) => length >= PAGE_MOUNTED);
    const last = some.at(-1);
    if ((isFull || Date.now() > endsAtMs) && last !== undefined && last !== subjects.at(-1))
      return { findings, mounted, unconfirmed, next: last.key };
  }
  return { findings, mounted, unconfirmed };
}

/** In an order that is the same for each page: slaves first, since what is not repaired there keeps devices from others. */
function subjectsOf({ deps, slaves, objects }: Survey, open: readonly DeviceMount[]): readonly Subject[] {
  const living = slaves.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
  const ofSlaves = [...Map.groupBy(living, keyOf)].map(([key, group]): Subject => {
    const { namespace = '', name = '' } = group[0]?.metadata ?? {};
    const mount = (group[0] && mountNameOf(group[0])) ?? name;
    return { key: `1 slaves ${key}`, namespace, mount, look: () => ofGroup(deps, group) };
  });
  // Objects also tell of mounts that have closed, or that the store does not show yet.
  const known = new Map([...(objects?.values() ?? []), ...open].map((each) => [idOf(each), each]));
  const ofOwners = [...known].map(([id, { metadata, status }]): Subject => {
    const { namespace, name } = metadata;
    const look = (survey: Survey): Promise<readonly Finding[]> => ofOwner(survey, namespace, name);
    return { key: `2 owner ${status?.node ?? ''}/${id}`, namespace, mount: name, look };
  });
  return [...ofSlaves, ...ofOwners].toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

/** What cannot be looked at must not keep the others from being repaired. */
async function lookAt(survey: Survey, { namespace, mount, look }: Subject): Promise<readonly Finding[]> {
  try {
    return await look(survey);
  } catch (err) {
    const why = `it cannot be looked at now: ${err instanceof Error ? err.message : String(err)}`;
    return [unknown({ namespace, mount, why })];
  }
}

/** Mounts are repaired all the same; it is only that nobody can read of them. */
function notRead(problem: string): Finding {
  return unknown({ namespace: '', mount: '', why: `the objects of mounts cannot be read: ${problem}` });
}

function unknown({ namespace, ...about }: Pick<Finding, 'namespace' | 'mount' | 'why'>): Finding {
  const target = { namespace, pod: '', podUid: '', container: '' };
  return { namespace, ...about, action: 'keep', slaves: [], target };
}

function keyOf(slave: V1Pod): string {
  const { namespace = '', name = '' } = slave.metadata ?? {};
  return `${namespace}/${mountNameOf(slave) ?? `foreign ${name}`}/${targetOf(slave)?.podUid ?? ''}`;
}

/** About slaves of one mount and target, of which there is at least one by the watch. */
async function ofGroup(deps: Dependencies, seen: readonly V1Pod[]): Promise<readonly Finding[]> {
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

/** About a mount that is open by the visibility store, or that has an object. */
async function ofOwner(survey: Survey, namespace: string, name: string): Promise<readonly Finding[]> {
  const owner = await survey.deps.owners.describe(namespace, name);
  const object = survey.objects?.get(`${namespace}/${name}`);
  if (owner?.open !== true) return object === undefined ? [] : ofEnded(survey, object, owner);
  const { mount } = owner;
  if (mount === undefined) return [];
  const why = survey.objects && whyNotShown(survey.deps, mount, object);
  if (why === undefined && object !== undefined && isUnconfirmed(survey.deps, object)) {
    survey.unconfirmed.push({ namespace, name });
  }
  const unshown =
    why === undefined ? [] : [{ ...aboutObject(mount, { action: 'project', why }), signal: SIGNALS.project }];
  return [...(await ofOpen(survey, mount)), ...unshown];
}

/** Of a mount whose workflow is closed or unknown. */
async function ofEnded(
  { deps, slaves }: Survey,
  object: DeviceMountObject,
  owner: Owner | undefined,
): Promise<readonly Finding[]> {
  const { namespace, name } = object.metadata;
  const isHeld = slaves.some((pod) => pod.metadata?.namespace === namespace && mountNameOf(pod) === name);
  const fate = await fateOf(deps, object, owner, () => isHeld);
  return fate === undefined ? [] : [aboutObject(object, fate)];
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

function aboutOf(slaves: readonly V1Pod[], target: Target, mount: string) {
  const node = slaves.map(({ spec }) => spec?.nodeName).find((name) => name !== undefined);
  return { namespace: target.namespace, mount, target, slaves: slaves.map(refOf), ...(node !== undefined && { node }) };
}

function refOf({ metadata }: V1Pod): SlaveRef {
  return { namespace: metadata?.namespace ?? '', name: metadata?.name ?? '', uid: metadata?.uid ?? '' };
}
