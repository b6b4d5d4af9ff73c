import { z } from 'zod';
import type { MountedDevice, SlaveRef } from '../../contract/device-mount.ts';
import type { MountRef } from '../../contract/node-activities.ts';
import type { MountRequest, Signed } from '../../contract/requests.ts';
import type {
  ContainerRestartedSignal,
  DegradedSignal,
  DriftHealedSignal,
  ReleaseSignal,
} from '../../contract/workflows.ts';
import type { ContainerHandle, Grant } from '../kernel/engine.ts';

/** What a mount has given to its container. */
export interface RecordedDevice {
  /** Of the device plugin. */
  readonly id: string;
  readonly resource: string;
  /** See `AllocatedDevice`. */
  readonly kubeletId?: string;
  /** Name of the slave that holds it; absent in records of before there were mounts with several. */
  readonly slave?: string;
  /** Says how to undo it. Its owner is this device of this mount, so that devices can be released one by one. */
  readonly grant: Grant;
}

/** What a mount's workflow is told, by a signal of contract/workflows.ts. */
export type Notice =
  /** `why`: what became of the slave, for people. */
  | { readonly signal: 'slaveEnding'; readonly why?: string }
  | { readonly signal: 'release'; readonly argument: ReleaseSignal }
  | { readonly signal: 'containerRestarted'; readonly argument: ContainerRestartedSignal }
  | { readonly signal: 'driftHealed'; readonly argument: DriftHealedSignal }
  | { readonly signal: 'degraded'; readonly argument: DegradedSignal };

/** The checkpoint of one mount on this node. */
export interface MountRecord {
  /** Of this format. A later version reads all earlier ones, and keeps `version`, `mount` and `containerId` as they are. */
  readonly version: 1;
  readonly mount: MountRef;
  /**
   * `attaching`: what is granted may be any part of the plan. `attached`: all of it is.
   * `revoking`: what is left may be any part; nothing of it is given again before its reservation was looked at.
   * `revoked`: taken back, but not finished: `leftToDo` says why.
   */
  readonly phase: 'attaching' | 'attached' | 'revoking' | 'revoked';
  /**
   * `endUsers`: processes still use the devices, and are ended once kube-apiserver shows that a slave ends.
   * `tellOwner`: the node has decided, and the mount's workflow does not know yet.
   */
  readonly leftToDo?: 'endUsers' | 'tellOwner';
  /** With `endUsers`: they were sent SIGTERM and SIGKILL, and the kernel has not ended them yet. */
  readonly killed?: boolean;
  /** What the owner is to be told of a decision of this node. Absent with `tellOwner`: that a slave is ending. */
  readonly notice?: Notice;
  /** The running slaves have been seen to have what was attached. */
  readonly confirmed?: boolean;
  readonly signed: Signed<MountRequest>;
  readonly slaves: readonly SlaveRef[];
  readonly containerId: string;
  /** Main process of the container, by pid as the host sees it; absent in earlier records. */
  readonly init?: Pick<ContainerHandle, 'pid'>;
  readonly devices: readonly RecordedDevice[];
  /** RFC 3339; when the record was begun. */
  readonly since: string;
  /** While `attaching`: the record of a mount that was made and is to be given to a new container. It stands again when that fails or is cut off. */
  readonly before?: MountRecord;
}

/** Checks what recovery depends on; the rest was written by this process and is readable by it. */
const OWN = z.looseObject({
  version: z.literal(1),
  mount: z.object({ namespace: z.string().min(1), name: z.string().min(1) }),
  phase: z.enum(['attaching', 'attached', 'revoking', 'revoked']),
  leftToDo: z.enum(['endUsers', 'tellOwner']).optional(),
  killed: z.boolean().optional(),
  notice: z.looseObject({ signal: z.enum(['slaveEnding', 'release', 'containerRestarted', 'driftHealed']) }).optional(),
  signed: z.looseObject({ request: z.looseObject({ kind: z.literal('mount') }), signature: z.string() }),
  slaves: z.array(z.object({ namespace: z.string(), name: z.string(), uid: z.string() })),
  containerId: z.string().min(1),
  init: z.looseObject({ pid: z.number() }).optional(),
  devices: z.array(
    z.looseObject({
      id: z.string(),
      resource: z.string(),
      slave: z.string().optional(),
      grant: z.looseObject({ owner: z.string(), containerId: z.string(), devices: z.array(z.looseObject({})) }),
    }),
  ),
  since: z.string(),
});
const RECORD = OWN.extend({ before: OWN.optional() });

/** Reads a checkpoint file. Throws on one that is damaged or of a later version. */
export function parseMountRecord(text: string): MountRecord {
  return RECORD.parse(JSON.parse(text)) as unknown as MountRecord;
}

/** What this release may know of a checkpoint that a later one has written. */
export interface LaterRecord {
  readonly mount: MountRef;
  readonly containerId: string;
}

const LATER = z.object({
  version: z.number().int().min(2),
  mount: z.object({ namespace: z.string().min(1), name: z.string().min(1) }),
  containerId: z.string().min(1),
});

/** Undefined for what is not a checkpoint of a later release. */
export function parseLaterRecord(text: string): LaterRecord | undefined {
  try {
    const { mount, containerId } = LATER.parse(JSON.parse(text));
    return { mount, containerId };
  } catch {
    return undefined;
  }
}

/** Names the mount in messages, keys and owners of grants. */
export function keyOf({ namespace, name }: MountRef): string {
  return `${namespace}/${name}`;
}

/** What clients see of the record's devices. */
export function mountedDevicesOf(devices: readonly RecordedDevice[]): readonly MountedDevice[] {
  return devices.map(({ id, resource, slave, grant }) => ({
    id,
    resource,
    ...(slave !== undefined && { slave }),
    nodes: grant.devices.map(({ path, type, major, minor, access }) => ({ path, type, major, minor, access })),
  }));
}
