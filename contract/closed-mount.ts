import type { DeviceMount } from './device-mount.ts';

/** Of a workflow, as Temporal describes it. */
interface Closing {
  readonly closeTime?: Date | undefined;
  readonly status: { readonly name: string };
}

/** Whether a mount has come to its end by its own word. */
export function hasEnded({ phase }: Pick<DeviceMount['status'], 'phase'>): boolean {
  return phase === 'Released' || phase === 'Failed';
}

/**
 * The mount in the memo of a workflow as it is since that has closed: one that was terminated, or cancelled before its first step, could
 * not write down its own end.
 */
export function closedMount(mount: DeviceMount, { closeTime, status: { name } }: Closing): DeviceMount {
  const { metadata, status } = mount;
  if (closeTime === undefined || name === 'CONTINUED_AS_NEW' || hasEnded(status)) return mount;
  const resourceVersion = String(Math.max(Number(metadata.resourceVersion) + 1, closeTime.getTime()));
  const message = 'Its workflow was ended from outside; what it has left is freed by the reconciler';
  return {
    ...mount,
    metadata: { ...metadata, resourceVersion },
    status: { ...status, phase: 'Failed', reason: name === 'CANCELLED' ? 'Canceled' : 'Terminated', message },
  };
}
