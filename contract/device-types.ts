interface DeviceType {
  /** For people who have named no type that there is. */
  readonly what: string;
  /** Extended resources that a request of this type may ask for. */
  readonly resources: RegExp;
  /** Whether a request may hold claims of dynamic resource allocation. */
  readonly claims?: true;
  /** That of its slaves, in place of the target's; a patch may name another. */
  readonly schedulerName?: string;
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
  /** Shares of GPUs with limits, by Volcano's scheduler and its vGPU device plugin. */
  VOLCANO_VGPU: {
    what: 'shares of GPUs by Volcano: volcano.sh/vgpu-number, with volcano.sh/vgpu-memory, vgpu-cores, vgpu-memory-percentage',
    resources: /^volcano\.sh\/vgpu-(number|memory|cores|(memory-)?percentage)$/,
    schedulerName: 'volcano',
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

/** A vGPU, or how much of one: its devices are known by the GPU that they are on, so two of them cannot be told apart in one mount. */
export const isOfVgpu = (resource: string): boolean => resource.startsWith('volcano.sh/vgpu-');

/**
 * Whether a resource says how much of a device is wanted, and is no device itself: only the scheduler counts it, so nothing waits for
 * what the kubelet makes of it.
 */
export const isMeasure = (resource: string): boolean => isOfVgpu(resource) && resource !== 'volcano.sh/vgpu-number';
