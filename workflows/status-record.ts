import { defineSearchAttributeKey } from '@temporalio/common';
import { setCurrentDetails, upsertMemo, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import type { DeviceMount } from '../contract/device-mount.ts';
import { mountOfRequest } from '../contract/mount-of-request.ts';
import { SEARCH_ATTRIBUTES } from '../contract/names.ts';
import type { MountRequest } from '../contract/requests.ts';
import { MOUNT_MEMO, type MountInput, SIGNATURE_MEMO } from '../contract/workflows.ts';
import { detailsOf } from './mount-details.ts';
import { Projection } from './projection.ts';

type Status = DeviceMount['status'];
/** `undefined` removes a field. */
export type StatusChange = { readonly [Field in keyof Status]?: Status[Field] | undefined };

/** The DeviceMount of this workflow, kept where clients and operators look: memo, search attributes, current details, and kube-apiserver. */
export class StatusRecord {
  readonly signed: MountInput;
  #mount: DeviceMount;
  #turn: Promise<void> = Promise.resolve();
  /** Of the mount in kube-apiserver. */
  readonly projection = new Projection(this);

  constructor(signed: MountInput, mount: DeviceMount) {
    this.signed = signed;
    this.#mount = mount;
    upsertMemo({ [SIGNATURE_MEMO]: signed.signature });
    const { metadata, spec, status } = mount;
    // A request in a history from before clusters had names has none.
    const { cluster }: { readonly cluster?: string } = signed.request;
    upsertSearchAttributes([
      ...(cluster === undefined ? [] : [keyword(SEARCH_ATTRIBUTES.cluster, cluster)]),
      keyword(SEARCH_ATTRIBUTES.namespace, metadata.namespace),
      keyword(SEARCH_ATTRIBUTES.pod, spec.podName),
      keyword(SEARCH_ATTRIBUTES.deviceType, spec.deviceType),
      keyword(SEARCH_ATTRIBUTES.user, status.user),
      keyword(SEARCH_ATTRIBUTES.phase, status.phase),
      ...(status.node === undefined ? [] : [keyword(SEARCH_ATTRIBUTES.node, status.node)]),
    ]);
    this.#show();
    this.projection.show();
  }

  get mount(): DeviceMount {
    return this.#mount;
  }

  get status(): Status {
    return this.#mount.status;
  }

  /** @param after a version that the mount has left behind */
  change(change: StatusChange, after = this.#mount.metadata.resourceVersion): void {
    const { metadata, status: before } = this.#mount;
    // The cast: fields are taken out exactly where the change says `undefined`, which only optional ones can.
    const status = Object.fromEntries(
      Object.entries({ ...before, ...change }).filter(([, value]) => value !== undefined),
    ) as unknown as Status;
    const last = Math.max(Number(metadata.resourceVersion), Number(after));
    // The time of the change, for readers.
    const resourceVersion = String(Math.max(last + 1, Date.now()));
    this.#mount = { ...this.#mount, metadata: { ...metadata, resourceVersion }, status };
    if (status.phase !== before.phase) upsertSearchAttributes([keyword(SEARCH_ATTRIBUTES.phase, status.phase)]);
    if (status.node !== undefined && status.node !== before.node) {
      upsertSearchAttributes([keyword(SEARCH_ATTRIBUTES.node, status.node)]);
    }
    this.#show();
    this.projection.changed();
  }

  goAbove(version: string): void {
    this.change({}, version);
  }

  /** Runs `task`, which must not throw, when those before have ended; without one, waits for these. */
  inTurn(task = async (): Promise<void> => undefined): Promise<void> {
    this.#turn = this.#turn.then(task);
    return this.#turn;
  }

  /** The lease begins anew, with this length. */
  renew(leaseSeconds: number): void {
    this.#mount = { ...this.#mount, spec: { ...this.#mount.spec, leaseSeconds } };
    this.change({ leaseEndsAt: new Date(Date.now() + leaseSeconds * 1_000).toISOString() });
  }

  #show(): void {
    upsertMemo({ [MOUNT_MEMO]: this.#mount });
    setCurrentDetails(detailsOf(this.#mount));
  }
}

/** What a mount is before anything is done for it. */
export function newMount(request: MountRequest): DeviceMount {
  const { firstExecutionRunId: uid, startTime } = workflowInfo();
  const identity = { uid, creationTimestamp: startTime.toISOString(), resourceVersion: String(startTime.getTime()) };
  return mountOfRequest(request, identity, { phase: 'Pending', devices: [], slaves: [] });
}

function keyword(name: string, value: string) {
  return { key: defineSearchAttributeKey(name, 'KEYWORD'), value };
}
