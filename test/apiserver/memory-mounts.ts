import { randomUUID } from 'node:crypto';
import type { MountAnswer, Mounts, NewMount } from '../../apiserver/mounts/mounts.ts';
import type { ObjectList } from '../../apiserver/mounts/objects.ts';
import { renewalOf, repeatOf } from '../../apiserver/mounts/repeat.ts';
import type { DeviceMount, DeviceMountList, MountWarning } from '../../contract/device-mount.ts';
import { type DeviceMountObject, mountOfObject, objectOf } from '../../contract/device-mount-object.ts';
import { fail, nothingMounted } from '../../contract/failures.ts';
import type { Fingerprint } from '../../contract/fingerprint.ts';
import { GROUP_VERSION } from '../../contract/names.ts';
import { isMeant, type Target } from '../../contract/requests.ts';
import type { MountInput, UnmountInput } from '../../contract/workflows.ts';

/** Mounts that are made at once, in memory. */
export class MemoryMounts implements Mounts {
  readonly mounts = new Map<string, DeviceMount>();
  readonly asked: (MountInput | UnmountInput)[] = [];
  readonly patience: number[] = [];
  /** How long each mount may be waited for to be shown. */
  readonly shownWithin: number[] = [];
  /** What every mount is made in spite of. */
  warnings: readonly MountWarning[] = [];
  /** What each call answers instead. */
  failure: Error | undefined;
  /** Awaited by each mount before it is made. */
  gate: Promise<void> = Promise.resolve();
  /** When each mount has ended; by namespace and name. */
  readonly ended = new Map<string, Date>();
  readonly #fingerprints = new Map<string, Fingerprint>();
  readonly #names = new Map<string, string>();
  #version = 0;

  async check(): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
  }

  async plan({ input: { request }, fingerprint }: NewMount): Promise<void> {
    const key = `${request.target.namespace}/${request.name}`;
    const mount = this.mounts.get(key);
    if (mount === undefined) return;
    repeatOf(
      { mount, fingerprint: this.#fingerprints.get(key), endedAt: this.ended.get(key) },
      fingerprint,
      new Date(),
    );
  }

  async mount({ input, first, fingerprint }: NewMount, patienceMs: number, shownMs: number): Promise<MountAnswer> {
    await this.check();
    const { name, target, idempotencyKey = '' } = input.request;
    const key = `${target.namespace}/${name}`;
    const other = this.#names.get(`${target.podUid} ${idempotencyKey}`) ?? name;
    if (idempotencyKey !== '' && other !== name)
      throw fail('IdempotencyKeyReused', `Cannot mount "${name}": its idempotencyKey belongs to mount "${other}"`);
    this.#names.set(`${target.podUid} ${idempotencyKey}`, name);
    const mount = this.mounts.get(key);
    if (mount !== undefined) {
      const earlier = { mount, fingerprint: this.#fingerprints.get(key), endedAt: this.ended.get(key) };
      if (repeatOf(earlier, fingerprint, new Date()) === 'same') return this.#joined(key, mount, input);
    }
    this.asked.push(input);
    this.patience.push(patienceMs);
    this.shownWithin.push(shownMs);
    this.#fingerprints.set(key, fingerprint);
    this.ended.delete(key);
    const started = this.#stored(key, first, { phase: 'Pending' });
    if (patienceMs === 0) return { state: 'pending', mount: shown(started), shown: true };
    await this.gate;
    const made = { phase: 'Mounted', mountedAt: '2026-01-01T00:00:00Z', warnings: this.warnings } as const;
    return { state: 'mounted', mount: shown(this.#stored(key, started, made)), shown: true };
  }

  #joined(key: string, mount: DeviceMount, { request }: MountInput): MountAnswer {
    if (mount.status.phase === 'Pending') return { state: 'pending', mount, shown: false };
    const leaseSeconds = renewalOf(mount, request);
    if (leaseSeconds === undefined) return { state: 'mounted', mount, shown: false };
    const leaseEndsAt = new Date(Date.now() + leaseSeconds * 1_000).toISOString();
    return { state: 'mounted', mount: this.#stored(key, mount, { leaseEndsAt }), shown: false };
  }

  async unmount(input: UnmountInput, patienceMs: number): Promise<DeviceMountList | undefined> {
    await this.check();
    this.asked.push(input);
    this.patience.push(patienceMs);
    const found = [...this.mounts.entries()].filter(([, mount]) => isMeant(mount, input.request));
    if (found.length === 0) throw nothingMounted(input.request);
    const items = found.map(([key, one]) => this.#stored(key, one, { phase: 'Releasing' }));
    return patienceMs === 0 ? undefined : this.#listOf(items);
  }

  /** As kube-apiserver does. */
  async listObjects({ namespace, podUid }: Target): Promise<ObjectList> {
    const mounts = [...this.mounts.values()].filter(
      ({ metadata, spec }) => metadata.namespace === namespace && spec.podUid === podUid,
    );
    return { metadata: { resourceVersion: String(this.#version) }, items: mounts.map(objectIn) };
  }

  #stored(key: string, mount: DeviceMount, change: Partial<DeviceMount['status']>): DeviceMount {
    this.#version = Math.max(this.#version + 1, Date.now());
    const metadata = {
      ...mount.metadata,
      uid: mount.metadata.uid || randomUUID(),
      resourceVersion: String(this.#version),
    };
    const changed = { ...mount, metadata, status: { ...mount.status, ...change } };
    this.mounts.set(key, changed);
    return changed;
  }

  #listOf(items: readonly DeviceMount[]): DeviceMountList {
    return {
      apiVersion: GROUP_VERSION,
      kind: 'DeviceMountList',
      metadata: { resourceVersion: String(this.#version) },
      items,
    };
  }
}

/** As it is in kube-apiserver. */
function objectIn(mount: DeviceMount): DeviceMountObject {
  const { uid, resourceVersion, creationTimestamp } = mount.metadata;
  const object = objectOf(mount, { cluster: 'test', at: creationTimestamp });
  const identity = { uid: `object of ${uid}`, resourceVersion: `1${resourceVersion}`, creationTimestamp };
  return { ...object, metadata: { ...object.metadata, ...identity } };
}

/** As a workflow answers it that has made its object. */
function shown(mount: DeviceMount): DeviceMount {
  return mountOfObject(objectIn(mount));
}
