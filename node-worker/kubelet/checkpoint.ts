import type { MethodDefinition } from '@grpc/grpc-js';
import { z } from 'zod';
import { loadService } from '../../proto/services.ts';

/** What the kubelet has given to a container of one resource. */
export interface Allocation {
  readonly podUid: string;
  readonly container: string;
  readonly resource: string;
  /** Ids of the device plugin, sorted, each once. */
  readonly deviceIds: readonly string[];
  /** What the device plugin answered. */
  readonly devices: readonly DeviceSpec[];
  readonly mounts: readonly MountSpec[];
  readonly envs: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Names such as `vendor.com/gpu=0`, each once; the runtime looks them up in CDI specs. */
  readonly cdiDevices: readonly string[];
}

export interface MountSpec {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly readOnly: boolean;
}

/** A device node or, where the plugin says so, a directory or symlink that leads to some. */
export interface DeviceSpec {
  readonly containerPath: string;
  readonly hostPath: string;
  /** Any of r, w, m. */
  readonly permissions: string;
}

/**
 * By NUMA node, where a device that is near several nodes stands under each of them; a plain list before Kubernetes 1.20. An
 * entry without devices has null.
 */
const DEVICE_IDS = z
  .union([z.array(z.string()), z.record(z.string(), z.array(z.string()).nullable())])
  .nullable()
  .transform((ids) =>
    ids === null ? [] : Array.isArray(ids) ? ids : Object.values(ids).flatMap((some) => some ?? []),
  );

const CHECKPOINT = z.object({
  Data: z.object({
    PodDeviceEntries: z
      .array(
        z.object({
          PodUID: z.string(),
          ContainerName: z.string(),
          ResourceName: z.string(),
          DeviceIDs: DEVICE_IDS,
          AllocResp: z.string().nullable(),
        }),
      )
      .nullable(),
  }),
});

/**
 * Reads `kubelet_internal_checkpoint` (pkg/kubelet/cm/devicemanager/checkpoint). Entries of pods that are gone or were
 * rejected stay in it until the kubelet allocates again. Throws on anything else than such a file.
 */
export function parseCheckpoint(text: string): readonly Allocation[] {
  const { Data } = CHECKPOINT.parse(JSON.parse(text));
  return (Data.PodDeviceEntries ?? []).map((entry) => {
    const response = decodeAllocResp(Buffer.from(entry.AllocResp ?? '', 'base64'));
    return {
      podUid: entry.PodUID,
      container: entry.ContainerName,
      resource: entry.ResourceName,
      deviceIds: [...new Set(entry.DeviceIDs)].toSorted(),
      devices: response.devices,
      mounts: response.mounts,
      envs: response.envs,
      annotations: response.annotations,
      cdiDevices: cdiNamesOf(response),
    };
  });
}

/** Runtimes also take CDI names from annotations of a container (container-device-interface, pkg/cdi/annotations.go). */
const CDI_ANNOTATION = 'cdi.k8s.io/';

function cdiNamesOf({ cdiDevices, annotations }: ContainerAllocateResponse): readonly string[] {
  const annotated = Object.entries(annotations).flatMap(([key, value]) =>
    key.startsWith(CDI_ANNOTATION) ? value.split(',') : [],
  );
  return [...new Set([...cdiDevices.map(({ name }) => name), ...annotated])];
}

interface ContainerAllocateResponse {
  readonly envs: Readonly<Record<string, string>>;
  readonly mounts: readonly MountSpec[];
  readonly devices: readonly DeviceSpec[];
  readonly annotations: Readonly<Record<string, string>>;
  readonly cdiDevices: readonly { readonly name: string }[];
}

const { Allocate } = loadService('DevicePlugin') as { readonly Allocate: MethodDefinition<object, object> };

/** Decodes one ContainerAllocateResponse as the only element of an AllocateResponse, which is what the service decodes. */
function decodeAllocResp(bytes: Buffer): ContainerAllocateResponse {
  const wrapped = Buffer.concat([Buffer.from([0x0a, ...varint(bytes.length)]), bytes]);
  const { containerResponses } = Allocate.responseDeserialize(wrapped) as {
    readonly containerResponses: readonly [ContainerAllocateResponse];
  };
  return containerResponses[0];
}

/** Seven bits at a time, lowest first (Protocol Buffers, "Encoding"). */
function varint(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
