import { closeSync, openSync } from 'node:fs';
import { S_IFBLK, S_IFCHR } from './device-at.ts';
import { makedev } from './device-number.ts';
import type { DeviceNode } from './engine.ts';
import { MNT_DETACH, O_DIRECTORY, O_PATH, OPEN_TREE_CLONE } from './flags.ts';
import { andBack, CLONE_NEWNS, inMountNamespace } from './mount-namespace.ts';
import { labelAs } from './security-label.ts';
import { syscall } from './syscall.ts';

/** include/uapi/linux/mount.h */
const MS_REC_PRIVATE = 0x4000 | 0x40000;
/** Any directory that every image has; the workbench is mounted on it until it is the only mount. */
const PLACE = '/sys';
const NODE = 'node';

interface Workbench {
  readonly namespace: number;
  /** Its only directory. */
  readonly directory: number;
}

/**
 * A mount namespace that holds nothing but a tmpfs, where nodes are made that will be bind-mounted: a mount can only be
 * cloned from a namespace's own (`check_mnt()` in fs/namespace.c; kernels before 6.15 do not clone a detached one). Made at
 * the first use, then kept: a copy of all mounts each time would cost more than the rest, and would hold them.
 */
let workbench: Workbench | undefined;

/**
 * Runs `use` with a detached mount of nothing but the node, with owner and mode of the device as the host sees them, and the label of
 * `model`, a directory of its container. It ends with `use` unless that moves it somewhere. Throws `SyscallError`.
 */
export function withMountOfNode<T>(device: DeviceNode, model: number, use: (mountFd: number) => T): T {
  workbench ??= andBack(makeWorkbench);
  const { namespace, directory } = workbench;
  syscall('mknodat', [directory, NODE, typeOf(device) | 0o600, makedev(device.major, device.minor)]);
  try {
    syscall('fchownat', [directory, NODE, device.uid, device.gid, 0]);
    syscall('fchmodat', [directory, NODE, device.mode]);
    labelAs(model, directory, NODE);
    const mountFd = inMountNamespace(namespace, () => syscall('open_tree', [directory, NODE, OPEN_TREE_CLONE]));
    try {
      return use(mountFd);
    } finally {
      closeSync(mountFd);
    }
  } finally {
    // Not before the mount was moved: what has no name any more cannot be mounted.
    syscall('unlinkat', [directory, NODE, 0]);
  }
}

const typeOf = ({ type }: DeviceNode): number => (type === 'c' ? S_IFCHR : S_IFBLK);

/** Leaves this thread in the namespace that it makes. */
function makeWorkbench(): Workbench {
  syscall('unshare', [CLONE_NEWNS]);
  const namespace = openSync('/proc/thread-self/ns/mnt', 0);
  try {
    syscall('mount', ['none', '/', 0, MS_REC_PRIVATE, 0]);
    syscall('mount', ['tmpfs', PLACE, 'tmpfs', 0, 'mode=700,size=64k']);
    syscall('chdir', [PLACE]);
    // The old root lies upon the new one then (pivot_root(2), "pivot_root(".", ".")"), and takes all other mounts with it.
    syscall('pivot_root', ['.', '.']);
    syscall('umount2', ['.', MNT_DETACH]);
    return { namespace, directory: openSync('/', O_PATH | O_DIRECTORY) };
  } catch (err) {
    closeSync(namespace);
    throw err;
  }
}
