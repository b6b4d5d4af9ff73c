import type { Call, Quiet, Struck } from './history.ts';
import type { Run } from './witness/runs.ts';

/** An answer must be there within 45 s, whatever does not answer; a slow machine may add to it. */
const ANSWER_MS = 50_000;
/** How long after its answer a client that was told "mounted" has to have been right. */
export const MOUNTED_MS = 1_000;

/** Something that must not be, and when it was so. */
export interface Finding {
  readonly what: string;
  readonly atMs: number;
}

/** Where a client was told that its pod has no device, and the pod's witness has used one. */
export function brokenQuiet(quiet: readonly Quiet[], runs: readonly Run[]): Finding[] {
  return quiet.flatMap(({ pod, name, why, fromMs, toMs }) => {
    const broken = runs.find((run) => run.could && run.pod === pod && wasWithin(run, fromMs, toMs));
    if (broken === undefined) return [];
    const used = broken.how === 'hold' ? 'kept the device open' : 'opened the device';
    const lateMs = Math.min(broken.lastMs[0], toMs) - fromMs;
    return [{ what: `${pod} ${used} until ${lateMs.toFixed(0)} ms after ${why} (mount ${name})`, atMs: fromMs }];
  });
}

/** Whether one of its tries began in between: of those between the first and the last nothing is known but that there were many. */
function wasWithin({ tries, firstMs, lastMs }: Run, fromMs: number, toMs: number): boolean {
  const within = (at: number): boolean => at > fromMs && at < toMs;
  return within(firstMs[0]) || within(lastMs[0]) || (tries > 2 && firstMs[0] <= fromMs && lastMs[0] >= toMs);
}

/** Where a client was told "mounted" and its pod never had the device, though nothing was done to pod or slave. */
export function brokenMounts(
  calls: readonly Call[],
  faults: readonly Struck[],
  runs: readonly Run[],
  resource: string,
): Finding[] {
  return calls
    .filter(({ verb, status, phase }) => verb === 'mount' && status === 200 && phase === 'Mounted')
    .filter((call) => call.resource === resource && !isDisturbed(call, faults))
    .filter(({ pod, fromMs, toMs }) => {
      const had = runs.some(
        (run) => run.could && run.pod === pod && run.lastMs[1] > fromMs && run.firstMs[0] < toMs + MOUNTED_MS,
      );
      return !had;
    })
    .map(({ pod, name, toMs }) => ({
      what: `${pod} could not open the device of mount ${name}, which was answered as mounted`,
      atMs: toMs,
    }));
}

function isDisturbed({ pod, fromMs, toMs }: Call, faults: readonly Struck[]): boolean {
  return faults.some((fault) => fault.pod === pod && fault.atMs > fromMs - 2_000 && fault.atMs < toMs + MOUNTED_MS);
}

/** How long after it was hit a pod or slave may still be losing its device. */
const HIT_MS = 60_000;

/** Where a device was taken by an unmount without force though a process kept it open: then it has to be refused. */
export function brokenPoliteness(
  calls: readonly Call[],
  faults: readonly Struck[],
  runs: readonly Run[],
  resource: string,
): Finding[] {
  return calls
    .filter(({ verb, status, force }) => verb === 'unmount' && status === 200 && force === false)
    .filter((call) => call.resource === resource && mayKeep(call, faults))
    .filter(({ pod, fromMs }) => {
      return runs.some(
        (run) => run.how === 'hold' && run.pod === pod && run.firstMs[1] < fromMs && run.lastMs[0] > fromMs,
      );
    })
    .map(({ pod, name, toMs }) => ({
      what: `${pod} kept the device of mount ${name} open, and an unmount without force was answered as done`,
      atMs: toMs,
    }));
}

/** After a refused unmount the client goes on, but not sooner. */
const REFUSED_MS = 300;

/** Where an unmount was refused since the device is in use, and the pod could not open it any more. */
export function brokenRefusals(
  calls: readonly Call[],
  faults: readonly Struck[],
  runs: readonly Run[],
  resource: string,
): Finding[] {
  return calls
    .filter(({ verb, failure }) => verb === 'unmount' && failure === 'DeviceBusy')
    .filter((call) => call.resource === resource && mayKeep(call, faults))
    .filter(({ pod, toMs }) => {
      return runs.some((run) => !run.could && run.pod === pod && wasWithin(run, toMs, toMs + REFUSED_MS));
    })
    .map(({ pod, name, toMs }) => ({
      what: `${pod} could not open the device of mount ${name} after its unmount was refused`,
      atMs: toMs,
    }));
}

/** Whether nothing else has taken the device: no lease that may have ended, nothing done to pod or slave. */
function mayKeep({ pod, leased, fromMs, toMs }: Call, faults: readonly Struck[]): boolean {
  const wasHit = faults.some(({ pod: hit, atMs }) => hit === pod && atMs > fromMs - HIT_MS && atMs < toMs + REFUSED_MS);
  return leased !== true && !wasHit;
}

/** Calls that took longer than they may, though kube-apiserver itself was there all the time. */
export function slowCalls(calls: readonly Call[], faults: readonly Struck[]): Finding[] {
  return calls
    .filter(({ verb, fromMs, toMs }) => verb !== 'cancel' && toMs - fromMs > ANSWER_MS)
    .filter(({ fromMs, toMs }) => !faults.some((struck) => isOfStore(struck) && overlaps(struck, fromMs, toMs)))
    .map(({ verb, name, fromMs, toMs }) => {
      return { what: `${verb} of ${name} was answered after ${((toMs - fromMs) / 1_000).toFixed(0)} s`, atMs: toMs };
    });
}

const isOfStore = ({ fault, hit }: Struck): boolean => hit !== undefined && /kube-apiserver|etcd/.test(fault.kind);

/** With the time that a server needs to be back. */
function overlaps({ fault, atMs }: Struck, fromMs: number, toMs: number): boolean {
  return atMs < toMs && atMs + fault.holdMs + 20_000 > fromMs;
}
