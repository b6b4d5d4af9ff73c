import { setTimeout as delay } from 'node:timers/promises';
import { hasEnded } from '../contract/closed-mount.ts';
import type { DeviceMount } from '../contract/device-mount.ts';
import { agrees, type DeviceMountObject, mountOfObject } from '../contract/device-mount-object.ts';
import { SLAVE_LABELS } from '../contract/names.ts';
import { SIGNALS } from '../contract/workflows.ts';
import { ClusterError, type MountRef } from './cluster.ts';
import type { Dependencies } from './dependencies.ts';
import type { Owner } from './owners.ts';
import { writeMount } from './project-mount.ts';
import { mountNameOf, SLAVE_SELECTOR } from './slave-pod.ts';

/** How long the object of a mount that has ended stays for readers. */
const ENDED_MS = 10 * 60_000;

/** How old the word may be that an object agrees with its mount. */
const CONFIRMED_MS = 10 * 60_000;

/** Less than the step may take. */
const CONFIRM_MS = 30_000;

/** Calls of the reconciler to Kubernetes and Temporal at a time. */
export const AT_ONCE = 8;

/** A change is shown within this time, or not by itself. */
const SHOWN_MS = 10_000;

/** How long the owner of a mount may take to show it, which is less than the step may take, and how often is looked. */
const SHOW_MS = 8_000;
const LOOK_MS = 200;

/** Why the object of an open mount has to be written again, if it has. */
export function whyNotShown(
  { clusterName, now }: Pick<Dependencies, 'clusterName' | 'now'>,
  mount: DeviceMount,
  object: DeviceMountObject | undefined,
): string | undefined {
  if (isWithin(SHOWN_MS, now(), Number(mount.metadata.resourceVersion))) return undefined;
  if (object === undefined) return 'it has no object';
  return shows(object, mount, clusterName) ? undefined : 'its object does not show it';
}

function shows(object: DeviceMountObject, mount: DeviceMount, clusterName: string): boolean {
  const { metadata, status } = mount;
  // Of one that does not wait for a device the steps until it is made are not shown.
  const isPending = status.phase === 'Pending' && object.status?.mountUid === metadata.uid;
  return isPending || agrees(object, mount, clusterName);
}

/** Has the owner of an open mount write its object again. Answers whether the object shows the mount then. */
export async function showMount({ cluster, clusterName, owners }: Dependencies, ref: MountRef): Promise<boolean> {
  const endsAtMs = performance.now() + SHOW_MS;
  let isOpen = await owners.signal(ref.namespace, ref.name, SIGNALS.project);
  while (isOpen && performance.now() < endsAtMs) {
    await delay(LOOK_MS);
    const [owner, object] = await Promise.all([owners.describe(ref.namespace, ref.name), cluster.getMount(ref)]);
    if (owner?.mount !== undefined && object !== undefined && shows(object, owner.mount, clusterName)) return true;
    isOpen = owner?.open === true;
  }
  return false;
}

/** Whether nobody has looked for long whether an object still shows its mount. */
export function isUnconfirmed({ now }: Pick<Dependencies, 'now'>, { status }: DeviceMountObject): boolean {
  return !isWithin(CONFIRMED_MS, now(), Date.parse(status?.confirmedAt ?? ''));
}

/** What is of the future was said by another clock, and tells nothing. */
function isWithin(ms: number, now: Date, since: number): boolean {
  const age = now.getTime() - since;
  return age >= 0 && age < ms;
}

/** Notes in objects that they show their mounts, where they do. What there is no time for stays for the next run. */
export async function confirmMounts(deps: Dependencies, refs: readonly MountRef[]): Promise<void> {
  const endsAtMs = Date.now() + CONFIRM_MS;
  const failures: unknown[] = [];
  for (let start = 0; start < refs.length && Date.now() < endsAtMs; start += AT_ONCE) {
    const some = refs.slice(start, start + AT_ONCE);
    // One that cannot be read must not keep the others from being confirmed.
    await Promise.all(some.map((ref) => confirmMount(deps, ref).catch((err: unknown) => failures.push(err))));
  }
  if (failures.length > 0) throw failures[0];
}

async function confirmMount(deps: Dependencies, ref: MountRef): Promise<void> {
  const object = await deps.cluster.getMount(ref);
  if (object?.status === undefined || !isUnconfirmed(deps, object)) return;
  const owner = await deps.owners.describe(ref.namespace, ref.name);
  if (owner?.open !== true || owner.mount === undefined || !agrees(object, owner.mount, deps.clusterName)) return;
  const status = { ...object.status, confirmedAt: deps.now().toISOString() };
  // Whoever has written in between has confirmed it, too.
  await deps.cluster.replaceMountStatus({ ...object, status }).catch(ifUnclear);
}

function ifUnclear(err: unknown): void {
  if (!(err instanceof ClusterError) || !err.isClear) throw err;
}

/** What is to become of an object that no open workflow shows any more. */
export interface Fate {
  readonly action: 'project' | 'remove';
  readonly why: string;
  /** What it is to show. */
  readonly mount?: DeviceMount;
  /** When the mount ended, or was last heard of, in milliseconds since 1970. */
  readonly endedMs?: number;
}

/** Of an object whose owner is closed, or unknown to Temporal. `hasSlaves`: whether there are slaves, which find an owner by themselves. */
export async function fateOf(
  { clusterName, now }: Pick<Dependencies, 'clusterName' | 'now'>,
  object: DeviceMountObject,
  owner: Owner | undefined,
  hasSlaves: () => boolean | Promise<boolean>,
): Promise<Fate | undefined> {
  const { status } = object;
  if (status === undefined) return { action: 'remove', why: 'it shows nothing, and has no workflow' };
  // Under the same name there may have been another mount since.
  const ended = owner?.mount?.metadata.uid === status.mountUid ? owner.mount : undefined;
  const mount = ended && hasAny(ended) && !(await hasSlaves()) ? freed(ended) : ended;
  if (mount !== undefined && !agrees(object, mount, clusterName)) {
    const endedMs = Number(mount.metadata.resourceVersion);
    return { action: 'project', why: 'its object does not show how it has ended', mount, endedMs };
  }
  if (hasEnded(status)) {
    // Since then it shows the end: for readers that counts.
    const isOver = now().getTime() - Date.parse(status.confirmedAt) >= ENDED_MS;
    return isOver ? { action: 'remove', why: 'it has ended ten minutes ago' } : undefined;
  }
  if (await hasSlaves()) return undefined;
  return {
    action: 'project',
    why: 'Temporal does not know it, and it has no slaves',
    mount: lost(object, status, now()),
    endedMs: Number(status.version),
  };
}

function hasAny({ status: { devices, slaves } }: DeviceMount): boolean {
  return devices.length + slaves.length > 0;
}

/** A mount that could not write down itself that nothing of it is left. */
function freed({ metadata, status, ...rest }: DeviceMount): DeviceMount {
  const resourceVersion = String(Number(metadata.resourceVersion) + 1);
  return { ...rest, metadata: { ...metadata, resourceVersion }, status: { ...status, devices: [], slaves: [] } };
}

function lost(
  object: DeviceMountObject,
  { mountUid, version }: { mountUid: string; version: string },
  at: Date,
): DeviceMount {
  const mount = mountOfObject(object);
  const resourceVersion = String(Math.max(Number(version) + 1, at.getTime()));
  const message = 'Temporal does not know it any more, and none of its slave pods is left';
  return {
    ...mount,
    metadata: { ...mount.metadata, uid: mountUid, resourceVersion },
    status: { ...mount.status, phase: 'Failed', reason: 'Lost', message, devices: [], slaves: [] },
  };
}

/** Has the object of a mount without an open workflow show its end, or removes it when that was long ago. Looks at everything again. */
export async function settleMount(deps: Dependencies, ref: MountRef): Promise<void> {
  const { cluster, owners } = deps;
  const object = await cluster.getMount(ref);
  if (object === undefined) return;
  const owner = await owners.describe(ref.namespace, ref.name);
  if (owner?.open === true) return;
  const fate = await fateOf(deps, object, owner, () => hasSlaves(deps, object));
  if (fate?.action === 'remove') await remove(deps, object);
  if (fate?.mount === undefined) return;
  try {
    await writeMount(deps, object, fate.mount);
  } catch (err) {
    const isOver = deps.now().getTime() - (fate.endedMs ?? Number.NaN) >= ENDED_MS;
    if (!isOver || !isRefused(err)) throw err;
    // It would show for ever what is no longer so.
    await remove(deps, object);
  }
}

async function remove({ cluster }: Dependencies, { metadata }: DeviceMountObject): Promise<void> {
  const { namespace, name, uid = '', resourceVersion } = metadata;
  await cluster.deleteMount({ namespace, name }, { uid, ...(resourceVersion !== undefined && { resourceVersion }) });
}

/** Whether kube-apiserver does not take it as it is, and not because somebody else has been faster. */
function isRefused(err: unknown): boolean {
  return err instanceof ClusterError && err.isClear && err.code !== 404 && err.code !== 409;
}

async function hasSlaves({ cluster }: Dependencies, { metadata, spec }: DeviceMountObject): Promise<boolean> {
  const labels = `${SLAVE_SELECTOR},${SLAVE_LABELS.ownerUid}=${spec.podUid}`;
  const { items } = await cluster.listPods(labels, metadata.namespace);
  return items.some((pod) => mountNameOf(pod) === metadata.name);
}
