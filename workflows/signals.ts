import { defineSignal, log, setHandler } from '@temporalio/workflow';
import {
  type ContainerRestartedSignal,
  type DegradedSignal,
  type DeviceReleasedSignal,
  type DriftHealedSignal,
  type ReleasedSignal,
  type ReleaseSignal,
  type RenewSignal,
  SIGNALS,
} from '../contract/workflows.ts';

/** Of texts in a signal: what is longer is cut, since the record of a mount has to fit into a memo. */
const TEXT_LENGTH = 1_024;
/** Some 31 years: more would be no date. */
const LONGEST_LEASE_SECONDS = 1e9;

type Fields = Readonly<Record<string, unknown>>;

/** What each signal brings, out of what somebody has sent. Throws what is wrong, as the end of a sentence. */
const PARSERS = {
  release: (input: unknown): Partial<ReleaseSignal> => {
    const fields = fieldsOf(input ?? {});
    return { ...optionalText(fields, 'by'), ...optionalText(fields, 'reason') };
  },
  released: (input: unknown): Partial<ReleasedSignal> => optionalText(fieldsOf(input ?? {}), 'by'),
  deviceReleased: (input: unknown): DeviceReleasedSignal => {
    const fields = fieldsOf(input);
    return { device: text(fields, 'device'), by: text(fields, 'by') };
  },
  targetGone: (): undefined => undefined,
  slaveEnding: (uid: unknown, why: unknown): { readonly uid?: string; readonly why?: string } => ({
    ...optionalText({ uid }, 'uid'),
    ...optionalText({ why }, 'why'),
  }),
  slaveScheduling: (uid: unknown, words: unknown): { readonly uid: string; readonly words?: string } => ({
    uid: text({ uid }, 'uid'),
    ...optionalText({ words }, 'words'),
  }),
  containerRestarted: (input: unknown): ContainerRestartedSignal => {
    const fields = fieldsOf(input);
    return { containerId: text(fields, 'containerId'), reapplied: flag(fields, 'reapplied') };
  },
  driftHealed: (input: unknown): DriftHealedSignal => {
    const fields = fieldsOf(input);
    return { at: text(fields, 'at'), what: text(fields, 'what') };
  },
  degraded: (input: unknown): DegradedSignal => {
    const fields = fieldsOf(input);
    return { at: text(fields, 'at'), why: text(fields, 'why') };
  },
  renew: (input: unknown): RenewSignal => ({ leaseSeconds: lease(fieldsOf(input), 'leaseSeconds') }),
  project: (): undefined => undefined,
} as const satisfies Record<keyof typeof SIGNALS, (...args: unknown[]) => unknown>;

/** For operators, who see them in Temporal's UI beside the names. */
const DESCRIPTIONS: Readonly<Record<keyof typeof SIGNALS, string>> = {
  release:
    'Unmount, unless processes use the devices: the message of the mount then names them. Input, optional: {"by": "who", "reason": "why"}.',
  released: 'For device-mounter: the node has taken all devices back.',
  deviceReleased: 'For device-mounter: the node has taken one device of several back.',
  targetGone: 'For device-mounter: the pod was deleted or has finished.',
  slaveEnding: 'For device-mounter: a slave pod ends.',
  slaveScheduling: 'For device-mounter: what the scheduler says of a slave pod.',
  containerRestarted: 'For device-mounter: the container was restarted.',
  driftHealed: 'For device-mounter: something had taken the devices away; the node has given them back.',
  degraded: 'For device-mounter: the node cannot give the container back what it has lost.',
  renew: 'Set the lease to so many seconds from now. Input: {"leaseSeconds": 3600}.',
  project: 'Write the DeviceMount in kube-apiserver again. No input.',
};

/**
 * Handles a signal that anyone may have sent. Input that cannot be used is left out and `refused` is told why: an error would
 * be thrown again and again, and nothing would reach the workflow any more, not even a Cancel.
 */
export function onSignal<Name extends keyof typeof SIGNALS>(
  name: Name,
  refused: (why: string) => void,
  act: (input: ReturnType<(typeof PARSERS)[Name]>) => void | Promise<void>,
): void {
  const parse = PARSERS[name] as (...args: unknown[]) => ReturnType<(typeof PARSERS)[Name]>;
  const handle = (...args: unknown[]): void | Promise<void> => {
    let input: ReturnType<typeof parse>;
    try {
      input = parse(...args);
    } catch (err) {
      const why = `Ignored the signal "${name}": ${err instanceof Error ? err.message : String(err)}`;
      log.warn(why);
      refused(why);
      return;
    }
    return act(input);
  };
  setHandler(defineSignal<unknown[]>(SIGNALS[name]), handle, { description: DESCRIPTIONS[name] });
}

function fieldsOf(input: unknown): Fields {
  if (typeof input === 'object' && input !== null && !Array.isArray(input)) return input as Fields;
  throw new TypeError(`its input must be an object, is ${kindOf(input)}`);
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === 'string') return value.slice(0, TEXT_LENGTH).toWellFormed();
  throw new TypeError(`"${name}" must be a string, is ${kindOf(value)}`);
}

function optionalText<Name extends string>(fields: Fields, name: Name): { readonly [N in Name]?: string } {
  if (fields[name] === undefined || fields[name] === null) return {};
  return { [name]: text(fields, name) } as { readonly [N in Name]?: string };
}

function flag(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value === 'boolean') return value;
  throw new TypeError(`"${name}" must be true or false, is ${kindOf(value)}`);
}

function lease(fields: Fields, name: string): number {
  const value = fields[name];
  if (Number.isInteger(value) && Number(value) > 0 && Number(value) <= LONGEST_LEASE_SECONDS) return Number(value);
  const is = typeof value === 'number' ? value : kindOf(value);
  throw new TypeError(`"${name}" must be whole seconds, more than 0 and at most ${LONGEST_LEASE_SECONDS}, is ${is}`);
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `of type ${typeof value}`;
}
