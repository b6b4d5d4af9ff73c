import type { RuntimeContainer } from './cri.ts';

/** Shims whose containers run on the host's kernel, where its cgroups and /dev decide (containerd, docs/runtime-v2.md). */
const SHARED_KERNEL_SHIMS = /^io\.containerd\.(runc|runtime|crun|youki)\b/;
/** Handlers of RuntimeClasses whose containers have a kernel of their own, as their projects name them. */
const OWN_KERNEL_HANDLERS =
  /kata|runsc|gvisor|firecracker|cloud-hypervisor|qemu|\bclh\b|\bfc\b|urunc|wasm|spin|peerpods|remote/i;

/** Sysbox moves a container's processes into cgroups of its own below that of the container. */
const OWN_CGROUPS_HANDLERS = /sysbox/i;

/** Why devices cannot be changed from outside of the container; undefined when they can. */
export function unsupported({ runtimeHandler, runtimeType }: RuntimeContainer): string | undefined {
  if (OWN_CGROUPS_HANDLERS.test(runtimeHandler)) {
    return `its runtime "${runtimeHandler}" keeps it in cgroups of its own, which is not supported`;
  }
  if (runtimeType !== undefined) {
    return SHARED_KERNEL_SHIMS.test(runtimeType)
      ? undefined
      : `it runs in "${runtimeType}", not on the kernel of the node`;
  }
  return OWN_KERNEL_HANDLERS.test(runtimeHandler)
    ? `its runtime "${runtimeHandler}" does not run it on the kernel of the node`
    : undefined;
}
