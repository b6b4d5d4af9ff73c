import { beforeEach, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../contract/device-mount.ts';
import { objectOf } from '../contract/device-mount-object.ts';
import { mountOfRequest } from '../contract/mount-of-request.ts';
import { MemoryCluster } from '../test/workflows/memory-cluster.ts';
import { CLUSTER, FUSE, mountRequest, NAMESPACE } from '../test/workflows/requests.ts';
import { ClusterError } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import { surveyMounts } from './survey-mounts.ts';

const LONG_AGO_MS = Date.now() - 60_000;
const NODE = 'n1';
const GONE = new ClusterError(503, '', 'no endpoints available');

let cluster: MemoryCluster;
/** The open mounts, by name. */
let open: Map<string, DeviceMount>;

beforeEach(() => {
  cluster = new MemoryCluster();
  cluster.addNode(NODE, { [FUSE]: 1 });
  cluster.addTarget(NAMESPACE, NODE, NODE);
  cluster.pageLimit = 3;
  open = new Map();
});

function deps(): Dependencies {
  const owners = {
    describe: async (_namespace: string, name: string) => {
      const mount = open.get(name);
      return mount && { open: true, firstRunId: mount.metadata.uid, mount };
    },
    async *all(): AsyncGenerator<DeviceMount> {
      yield* open.values();
    },
  };
  const slaves = { synced: true, all: () => [], get: () => undefined };
  const rest = { clusterName: CLUSTER, namespace: 'device-mounter', now: () => new Date() };
  return { ...rest, cluster, owners, slaves, targets: { get: () => undefined } } as unknown as Dependencies;
}

function mountOf(name: string, version = LONG_AGO_MS): DeviceMount {
  const identity = { uid: `uid-${name}`, creationTimestamp: '', resourceVersion: String(version) };
  const state = { phase: 'Mounted', node: NODE, devices: [], slaves: [] } as const;
  return mountOfRequest(mountRequest(NODE, { name }), identity, state);
}

async function show(mount: DeviceMount): Promise<void> {
  const made = await cluster.createMount(objectOf(mount, { cluster: CLUSTER, at: new Date().toISOString() }));
  const about = { cluster: CLUSTER, at: new Date().toISOString(), before: made };
  await cluster.replaceMountStatus({ ...made, ...objectOf(mount, about), metadata: made.metadata });
}

async function mounted(name: string, isShown = true): Promise<void> {
  open.set(name, mountOf(name));
  if (isShown) await show(mountOf(name));
}

async function remove(name: string): Promise<void> {
  const ref = { namespace: NAMESPACE, name };
  await cluster.deleteMount(ref, { uid: (await cluster.getMount(ref))?.metadata.uid ?? '' });
}

const names = Array.from({ length: 8 }, (_, index) => `m${index}`);

/** All pages of a survey. */
async function survey(): Promise<{ seen: readonly string[]; found: readonly string[]; pages: number }> {
  const [seen, found]: [string[], string[]] = [[], []];
  let [pages, after]: [number, string | undefined] = [0, undefined];
  do {
    const page = await surveyMounts(deps(), after === undefined ? {} : { after });
    seen.push(...page.mounted.map(({ mount }) => mount));
    found.push(...page.findings.map(({ action, mount, why }) => `${action} ${mount}: ${why}`));
    [pages, after] = [pages + 1, page.next];
  } while (after !== undefined);
  return { seen, found, pages };
}

/** Has something happen just after the page with `name` was read, once. */
function afterPageOf(name: string, happen: () => unknown): void {
  cluster.afterPage = (items) => {
    if (!items.some(({ metadata }) => metadata.name === name)) return;
    cluster.afterPage = undefined;
    happen();
  };
}

describe('surveyMounts()', () => {
  test('looks at each mount once, and reads the list of objects twice, whatever the pages', async () => {
    await Promise.all(names.map((name) => mounted(name)));
    let read = 0;
    cluster.afterPage = (items) => void (read += items.length);
    expect(await survey()).toEqual({ seen: names, found: [], pages: 1 });
    expect(read).toBe(2 * names.length);
  });

  test('goes on after a page that is full, among objects and among mounts without one', async () => {
    const many = Array.from({ length: 120 }, (_, index) => `x${1_000 + index}`);
    for (const name of names) await mounted(name);
    for (const name of many) await mounted(name, false);
    for (const name of many.slice(0, 60))
      await show({ ...mountOf(name), spec: { ...mountOf(name).spec, container: 'y' } });
    const { seen, found, pages } = await survey();
    expect(seen.toSorted()).toEqual([...names, ...many]);
    const wrong = many.slice(0, 60).map((name) => `project ${name}: its object does not show it`);
    expect(found).toEqual([...wrong, ...many.slice(60).map((name) => `project ${name}: it has no object`)]);
    expect(pages).toBeGreaterThan(2);
  });

  test('goes on in a list that has become shorter since', async () => {
    cluster.pageLimit = 1_000;
    const many = Array.from({ length: 120 }, (_, index) => `x${1_000 + index}`);
    for (const name of many) await show({ ...mountOf(name), spec: { ...mountOf(name).spec, container: 'y' } });
    for (const name of many) open.set(name, mountOf(name));
    const first = await surveyMounts(deps());
    const seen = first.findings.map(({ mount }) => mount);
    await Promise.all(seen.map(remove));
    const second = await surveyMounts(deps(), { ...(first.next !== undefined && { after: first.next }) });
    expect(second.findings[0]?.mount).toBe(many[seen.length]);
  });

  test('does not take what a list of long ago shows for what is', async () => {
    await Promise.all(names.map((name) => mounted(name)));
    afterPageOf('m0', async () => {
      // With an earlier version than now, as if the list were older.
      const later = mountOf('m7', LONG_AGO_MS + 1);
      const changed = { ...later, status: { ...later.status, message: 'x' } };
      open.set('m7', changed);
      await remove('m7');
      await show(changed);
    });
    expect(await survey()).toMatchObject({ seen: names, found: [] });
  });

  test('finds missing what was deleted since it was listed, and leaves to the next survey what was made', async () => {
    await Promise.all(names.map((name) => mounted(name)));
    afterPageOf('m0', () => remove('m7'));
    expect((await survey()).found).toEqual(['project m7: it has no object']);
    afterPageOf('m0', () => mounted('a'));
    const { seen, found } = await survey();
    expect(seen.includes('a')).toBe(false);
    expect(found).toEqual(['project m7: it has no object']);
    expect((await survey()).seen).toEqual(['a', ...names]);
  });

  test('looks at the devices of all open mounts when the list of objects breaks off', async () => {
    await Promise.all(names.map((name) => mounted(name)));
    await mounted('without', false);
    afterPageOf('m0', () => {
      cluster.refuseLists = GONE;
    });
    const { seen, found } = await survey();
    expect(new Set(seen)).toEqual(new Set([...names, 'without']));
    expect(found).toEqual(['keep : the objects of mounts cannot be read: no endpoints available']);
  });
});
