import type { V1Pod } from '@kubernetes/client-node';
import { ClusterError, type MountRef } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import { type Finding, unknown } from './finding.ts';
import { lookAtDevices, lookAtMount, type Mounted, type Survey } from './look-at-mount.ts';
import { lookAtSlaves } from './look-at-slaves.ts';
import { AT_ONCE } from './settle-mount.ts';
import { mountNameOf, SLAVE_SELECTOR, targetOf } from './slave-pod.ts';

export interface SurveyInput {
  /** `next` of the page before. */
  readonly after?: string;
}

/** As much of a survey as fits into an answer of Temporal, and is repaired at a time. */
export interface SurveyPage {
  readonly findings: readonly Finding[];
  /** What is mounted and well, as far as can be seen from here. */
  readonly mounted: readonly Mounted[];
  /** Whose objects show them, which was last said long ago. */
  readonly unconfirmed: readonly MountRef[];
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
  /** From here it is gone on after this one: what is being looked at, and how far that has come. */
  readonly key: string;
  readonly namespace: string;
  readonly mount: string;
  readonly look: (survey: Survey) => Promise<readonly Finding[]>;
}

/**
 * Looks for what is not as its owner would have it. Temporal's visibility store, lists, labels and the watches only say where to look:
 * owners are looked up by the ID derived from the mount's name, slaves by their derived name and their ownerReference, and
 * whatever a list or the watches show otherwise than it should be is asked for again.
 *
 * A survey goes through all slaves, then through the list of all objects, then through the open mounts that have none. It holds a page of
 * objects at a time, and of the others no more than names, however many there are. A page may begin minutes after the one before, so each
 * mount is compared by itself with what its own owner says then; nothing is compared across pages. Later pages of the list show what was at
 * its beginning. So an object that was made since is not listed, and neither is its mount taken for one without an object, since for these
 * names are listed anew: the next survey looks at it. An object that was deleted since is found to be missing.
 */
export async function surveyMounts(deps: Dependencies, { after = '' }: SurveyInput = {}): Promise<SurveyPage> {
  const { slaves: watched, cluster } = deps;
  const slaves = watched.synced ? watched.all() : (await cluster.listPods(SLAVE_SELECTOR)).items;
  const [mounted, unconfirmed, findings]: [Mounted[], MountRef[], Finding[]] = [[], [], []];
  const survey: Survey = { deps, slaves, nodes: new Map(), mounted, unconfirmed };
  const subjects = subjectsAfter(survey, after, (problem) => findings.push(notRead(problem)));
  const endsAtMs = Date.now() + PAGE_MS;
  for (;;) {
    const some = await taken(subjects, AT_ONCE);
    const last = some.at(-1);
    if (last === undefined) return { findings, mounted, unconfirmed };
    findings.push(...(await Promise.all(some.map((subject) => lookAt(survey, subject)))).flat());
    const isFull =
      findings.length >= PAGE_FINDINGS || [mounted, unconfirmed].some(({ length }) => length >= PAGE_MOUNTED);
    if (isFull || Date.now() > endsAtMs) return { findings, mounted, unconfirmed, next: last.key };
  }
}

async function taken<T>(from: AsyncIterator<T>, count: number): Promise<readonly T[]> {
  const some: T[] = [];
  while (some.length < count) {
    const { done, value } = await from.next();
    if (done === true) break;
    some.push(value);
  }
  return some;
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

/** What is looked at, in this order: what is not repaired of slaves keeps devices from others. */
const PARTS = ['slaves', 'objects', 'without', 'open'] as const;
type Part = (typeof PARTS)[number];

/** From the beginning, or after the subject with that key. `onProblem` hears why objects cannot be read: then all open mounts are looked at. */
async function* subjectsAfter(
  survey: Survey,
  after: string,
  onProblem: (problem: string) => void,
): AsyncGenerator<Subject> {
  const [, begins = 'slaves', place = ''] = /^(\w+) (.*)$/s.exec(after) ?? [];
  const isDue = (part: Part): boolean => PARTS.indexOf(part) >= PARTS.indexOf(begins as Part);
  const placeIn = (part: Part): string => (part === begins ? place : '');
  if (isDue('slaves')) yield* slaveSubjects(survey, placeIn('slaves'));
  try {
    if (isDue('objects')) yield* objectSubjects(survey, placeIn('objects'));
    if (!isDue('without')) yield* openSubjects(survey, 'open', placeIn('open'));
    else yield* openSubjects(survey, 'without', placeIn('without'), await namesOfObjects(survey));
  } catch (err) {
    if (!(err instanceof ClusterError)) throw err;
    onProblem(err.message);
    yield* openSubjects(survey, 'open', '');
  }
}

/** In an order that is the same for each page. */
function* slaveSubjects({ slaves }: Survey, after: string): Generator<Subject> {
  const living = slaves.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
  const groups = [...Map.groupBy(living, keyOf)].toSorted(([a], [b]) => (a < b ? -1 : 1));
  for (const [key, group] of groups) {
    if (key <= after) continue;
    const { namespace = '', name = '' } = group[0]?.metadata ?? {};
    const mount = (group[0] && mountNameOf(group[0])) ?? name;
    yield { key: `slaves ${key}`, namespace, mount, look: ({ deps }) => lookAtSlaves(deps, group) };
  }
}

function keyOf(slave: V1Pod): string {
  const { namespace = '', name = '' } = slave.metadata ?? {};
  return `${namespace}/${mountNameOf(slave) ?? `foreign ${name}`}/${targetOf(slave)?.podUid ?? ''}`;
}

/** `after`: which object of which page. They are listed in the order of their IDs. @throws ClusterError */
async function* objectSubjects({ deps }: Survey, after: string): AsyncGenerator<Subject> {
  const [, last = '', first = ''] = /^(\S+) (.*)$/s.exec(after) ?? [];
  let page = first;
  do {
    const { items, next } = await deps.cluster.pageOfMounts(page);
    for (const object of items) {
      const { namespace, name } = object.metadata;
      const look = (survey: Survey): Promise<readonly Finding[]> => lookAtMount(survey, { namespace, name }, object);
      const id = idOf(object.metadata);
      if (id > last) yield { key: `objects ${id} ${page}`, namespace, mount: name, look };
    }
    page = next;
  } while (page !== '');
}

/** @throws ClusterError */
async function namesOfObjects({ deps }: Survey): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  let page = '';
  do {
    const { items, next } = await deps.cluster.pageOfMounts(page);
    for (const { metadata } of items) names.add(idOf(metadata));
    page = next;
  } while (page !== '');
  return names;
}

/** Open mounts by the visibility store, but those of `shown`. Without that nothing is known about objects. */
async function* openSubjects(
  { deps }: Survey,
  part: Part,
  after: string,
  shown?: ReadonlySet<string>,
): AsyncGenerator<Subject> {
  const refs: MountRef[] = [];
  for await (const { metadata } of deps.owners.all()) {
    const { namespace, name } = metadata;
    if (shown?.has(idOf(metadata)) !== true && idOf(metadata) > after) refs.push({ namespace, name });
  }
  for (const ref of refs.toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1))) {
    const look = (survey: Survey): Promise<readonly Finding[]> =>
      shown === undefined ? lookAtDevices(survey, ref) : lookAtMount(survey, ref, undefined);
    yield { key: `${part} ${idOf(ref)}`, namespace: ref.namespace, mount: ref.name, look };
  }
}

function idOf({ namespace, name }: MountRef): string {
  return `${namespace}/${name}`;
}
