import { defineSearchAttributeKey } from '@temporalio/common';
import { setCurrentDetails, upsertMemo, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import type { MountEvent } from '../activities/publish.ts';
import type { Reservation } from '../activities/reserve-devices.ts';
import type { DeviceMount } from '../contract/device-mount.ts';
import { mountOfRequest } from '../contract/mount-of-request.ts';
import { SEARCH_ATTRIBUTES } from '../contract/names.ts';
import type { MountRequest } from '../contract/requests.ts';
import { MOUNT_MEMO, type MountInput } from '../contract/workflows.ts';
import { countChange } from './metrics.ts';
import { detailsOf } from './mount-details.ts';
import type { OwnSlaves } from './mount-ends.ts';
import { Projection } from './projection.ts';

type Status = DeviceMount['status'];
/** `undefined` removes a field. */
export type StatusChange = { readonly [Field in keyof Status]?: Status[Field] | undefined };

/** The DeviceMount of this workflow, kept where clients and operators look: memo, search attributes, current details, and kube-apiserver. */
export class StatusRecord {
  readonly signed: MountInput;
  #mount: DeviceMount;
  /** Of the mount in kube-apiserver. */
  readonly projection = new Projection(this);
  readonly slaves: OwnSlaves = ownSlaves(() => this.#mount.status);

  constructor(signed: MountInput, mount: DeviceMount) {
    this.signed = signed;
    this.#mount = mount;
    this.#show();
    this.projection.changed();
  }

  get mount(): DeviceMount {
    return this.#mount;
  }

  get status(): Status {
    return this.#mount.status;
  }

  /**
   * @param event tells the target of the change
   * @param after a version that the mount has left behind
   */
  change(change: StatusChange, event?: MountEvent, after = this.#mount.metadata.resourceVersion): void {
    const { metadata, status: before } = this.#mount;
    // The cast: fields are taken out exactly where the change says `undefined`, which only optional ones can.
    const status = Object.fromEntries(
      Object.entries({ ...before, ...change }).filter(([, value]) => value !== undefined),
    ) as unknown as Status;
    const last = Math.max(Number(metadata.resourceVersion), Number(after));
    // The time of the change, for readers.
    const resourceVersion = String(Math.max(last + 1, Date.now()));
    this.#mount = { ...this.#mount, metadata: { ...metadata, resourceVersion }, status };
    countChange(this.signed.request.deviceType, before, status);
    this.#show();
    this.projection.changed(event);
  }

  /** What was reserved for the mount when it was like `before`, as which its object is being made. */
  reserved({ node, slaves }: Reservation, before: DeviceMount): void {
    if (this.projection.isBusy || this.#mount !== before) {
      this.change({ node, slaves });
      return;
    }
    // No new version: the object will show this one.
    this.#mount = { ...before, status: { ...before.status, node, slaves } };
    this.projection.begun(this.#mount);
    this.#show();
  }

  goAbove(version: string): void {
    this.change({}, undefined, version);
  }

  /** The lease begins anew, with this length. */
  renew(leaseSeconds: number): void {
    this.#mount = { ...this.#mount, spec: { ...this.#mount.spec, leaseSeconds } };
    this.change({ leaseEndsAt: new Date(Date.now() + leaseSeconds * 1_000).toISOString() });
  }

  #show(): void {
    const { typedSearchAttributes } = workflowInfo();
    const changed = attributesOf(this.signed, this.#mount).filter(
      ({ key, value }) => typedSearchAttributes.get(key) !== value,
    );
    if (changed.length > 0) upsertSearchAttributes(changed);
    upsertMemo({ [MOUNT_MEMO]: this.#mount });
    setCurrentDetails(detailsOf(this.#mount));
  }
}

function ownSlaves(status: () => Status): OwnSlaves {
  return {
    has: (uid) => status().slaves.some((slave) => slave.uid === uid),
    get areKnown() {
      return status().slaves.length > 0 || status().phase !== 'Pending';
    },
  };
}

/** What a mount is before anything is done for it. */
export function newMount(request: MountRequest): DeviceMount {
  const { firstExecutionRunId: uid, startTime } = workflowInfo();
  const identity = { uid, creationTimestamp: startTime.toISOString(), resourceVersion: String(startTime.getTime()) };
  return mountOfRequest(request, identity, { phase: 'Pending', devices: [], slaves: [] });
}

function attributesOf({ request }: MountInput, { metadata, spec, status }: DeviceMount) {
  const { namespace } = metadata;
  const { podName: pod, deviceType } = spec;
  const { user, phase, node } = status;
  const values = Object.entries({ cluster: request.cluster, namespace, pod, deviceType, user, phase, node });
  return values.flatMap(([name, value]) => {
    if (value === undefined) return [];
    const key = defineSearchAttributeKey(SEARCH_ATTRIBUTES[name as keyof typeof SEARCH_ATTRIBUTES], 'KEYWORD');
    return [{ key, value }];
  });
}
