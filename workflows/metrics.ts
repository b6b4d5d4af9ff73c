import { metricMeter, workflowInfo } from '@temporalio/workflow';
import type { DeviceMount } from '../contract/device-mount.ts';
import { DEVICE_TYPES } from '../contract/device-types.ts';
import type { ReconcileReport } from '../contract/workflows.ts';

type Status = DeviceMount['status'];

/** In the place of the reason of a failure. */
const OK = 'ok';

/** Counts a mount that was just made, could not be made, or has ended. */
export function countChange(deviceType: string, before: Status, { phase, reason = '' }: Status): void {
  if (phase === before.phase) return;
  const isEnd = phase === 'Released' || phase === 'Failed';
  if (before.phase === 'Pending') {
    mounts().record(secondsSinceStart(), { ...typeLabel(deviceType), result: isEnd ? reason : OK });
  } else if (isEnd) ends().add(1, { ...typeLabel(deviceType), reason });
}

/** Counts an unmount. @param failure its type, if it has failed */
export function countUnmount(deviceType: string | undefined, failure?: string): void {
  unmounts().record(secondsSinceStart(), { ...typeLabel(deviceType), result: failure ?? OK });
}

/** Counts what the reconciler has found, and whether it was repaired. */
export function countFinding({ action, done }: ReconcileReport['findings'][number]): void {
  findings().add(1, { action, done: String(done) });
}

// The SDK makes metrics only inside of a workflow, so they cannot be made once for all.
const mounts = () =>
  histogram(
    'device_mounter_mount_seconds',
    'Time until devices were mounted, or that had failed and was undone. Result: ok, or the reason of the failure.',
  );
const unmounts = () =>
  histogram(
    'device_mounter_unmount_seconds',
    'Time until a container had lost devices, or that had failed. Result: ok, or the reason of the failure.',
  );
const ends = () => counter('device_mounter_mount_ends', 'Mounts that were made and have ended, by the reason.');
const findings = () =>
  counter(
    'device_mounter_reconciler_findings',
    'What the reconciler has found: mounts without an owner, and objects that did not show how a mount is.',
  );
const counter = (name: string, help: string) => metricMeter.createCounter(name, undefined, help);
const histogram = (name: string, help: string) => metricMeter.createHistogram(name, 'float', undefined, help);

/** Whoever can start workflows can name any type. */
function typeLabel(deviceType: string | undefined): { readonly device_type: string } {
  return { device_type: Object.keys(DEVICE_TYPES).find((type) => type === deviceType) ?? 'unknown' };
}

function secondsSinceStart(): number {
  return (Date.now() - workflowInfo().startTime.getTime()) / 1_000;
}
