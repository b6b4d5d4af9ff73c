interface DeviceType {
  /** For people who have named no type that there is. */
  readonly what: string;
  /** Extended resources that a request of this type may ask for. */
  readonly resources: RegExp;
  /** Whether a request may hold claims of dynamic resource allocation. */
  readonly claims?: true;
}

/** What can be mounted. The key is `device_type` of a request, in upper case. */
export const DEVICE_TYPES = {
  /** Any device file of the host, offered by the hostdev device plugin. */
  HOSTDEV: { what: 'device files of the host', resources: /^hostdev\.k8s\.io\// },
  /** NPUs of Huawei, whole, virtual and by cores, by Ascend Device Plugin. */
  ASCEND_NPU: {
    what: 'NPUs of Huawei: huawei.com/Ascend*, huawei.com/npu-core',
    resources: /^huawei\.com\/(Ascend\d{3}[A-Z]?(-[A-Za-z0-9.]+)?|npu-core)$/,
  },
  /** Whole GPUs, shares of them (time slices, MPS) and MIG devices, by NVIDIA's device plugin. */
  NVIDIA_GPU: {
    what: 'GPUs of NVIDIA: nvidia.com/gpu, nvidia.com/gpu.shared, nvidia.com/mig-*',
    resources: /^nvidia\.com\/(gpu(\.shared)?|mig-[a-z0-9.-]+)$/,
  },
  /** Whatever an extended resource or a claim gives to a pod. A name with a domain outside kubernetes.io is an extended resource. */
  GENERIC: {
    what: 'any other extended resource, and claims',
    resources: /^(?!([^/]+\.)?kubernetes\.io\/)[^/]+\/[^/]+$/,
    claims: true,
  },
} as const satisfies Record<string, DeviceType>;

export type DeviceTypeName = keyof typeof DEVICE_TYPES;

export function isDeviceType(name: string): name is DeviceTypeName {
  return Object.hasOwn(DEVICE_TYPES, name);
}
