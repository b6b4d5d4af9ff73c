import { crc32 } from 'node:zlib';
import { z } from 'zod';

/** A device that a driver of dynamic resource allocation has prepared for a ResourceClaim. */
export interface PreparedDevice {
  /** `driver/pool/device`; a device that several claims share has the id of the share behind it. */
  readonly id: string;
  /** Names of the requests in the claim that it serves; none: it serves all. */
  readonly requests: readonly string[];
  /** Names such as `vendor.com/gpu=0`, each once; the runtime looks them up in CDI specs. */
  readonly cdiDevices: readonly string[];
}

/** A ResourceClaim that the kubelet has prepared, or is preparing: then it has no devices yet. */
export interface PreparedClaim {
  readonly namespace: string;
  readonly name: string;
  /** Pods of this node that use it. */
  readonly podUids: readonly string[];
  readonly devices: readonly PreparedDevice[];
}

const FILE = z.object({ Data: z.string(), Checksum: z.number() });
const TEXTS = z.array(z.string()).nullable();
const PART = z.string().min(1);
const DEVICE = z.object({
  PoolName: PART,
  DeviceName: PART,
  ShareID: z.string().nullish(),
  RequestNames: TEXTS,
  CDIDeviceIDs: TEXTS,
});
const DATA = z.object({
  apiVersion: z.literal('checkpoint.dra.kubelet.k8s.io/v1'),
  ClaimInfoStateList: z
    .array(
      z.object({
        ClaimName: z.string(),
        Namespace: z.string(),
        PodUIDs: z.record(z.string(), z.unknown()).nullable(),
        DriverState: z.record(PART, z.object({ Devices: z.array(DEVICE).nullable() })).nullable(),
      }),
    )
    .nullable(),
});

/**
 * Reads `dra_manager_state` (pkg/kubelet/cm/dra/state). The kubelet writes it before it starts the containers of a pod, and takes a
 * pod out once its containers are gone. Throws on anything else than such a file.
 */
export function parsePreparedClaims(text: string): readonly PreparedClaim[] {
  const { Data, Checksum } = FILE.parse(JSON.parse(text));
  if (crc32(Data) !== Checksum) throw new Error('its checksum is wrong');
  const { ClaimInfoStateList } = DATA.parse(JSON.parse(Data));
  return (ClaimInfoStateList ?? []).map(({ Namespace, ClaimName, PodUIDs, DriverState }) => ({
    namespace: Namespace,
    name: ClaimName,
    podUids: Object.keys(PodUIDs ?? {}),
    devices: Object.entries(DriverState ?? {}).flatMap(([driver, { Devices }]) => devicesOf(driver, Devices ?? [])),
  }));
}

/** A kubelet that was restarted adds each device of a claim once more. */
function devicesOf(driver: string, devices: readonly z.infer<typeof DEVICE>[]): readonly PreparedDevice[] {
  const byId = new Map<string, PreparedDevice>();
  for (const { PoolName, DeviceName, ShareID, RequestNames, CDIDeviceIDs } of devices) {
    const id = [driver, PoolName, DeviceName, ...(ShareID ? [ShareID] : [])].join('/');
    const before = byId.get(id) ?? { requests: [], cdiDevices: [] };
    byId.set(id, {
      id,
      requests: [...new Set([...before.requests, ...(RequestNames ?? [])])],
      cdiDevices: [...new Set([...before.cdiDevices, ...(CDIDeviceIDs ?? [])])],
    });
  }
  return [...byId.values()];
}
