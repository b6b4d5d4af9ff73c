import { deviceKey } from '../cgroup/rule.ts';
import { makeTarget, mountNode, removeTarget, unmountNode } from './bind-node.ts';
import { isOfHost } from './container-dev.ts';
import type { ContainerRoot } from './container-root.ts';
import { deviceAt, isSameDevice } from './device-at.ts';
import {
  type Dev,
  makeDirectories,
  makeNode,
  removeDirectory,
  removeNode,
  temporaryName,
  unwritable,
  withDirectory,
} from './device-node.ts';
import type { DeviceId, DeviceNode, GrantedDevice } from './engine.ts';
import { O_DIRECTORY } from './flags.ts';
import { unguarded } from './mount-guard.ts';
import { withPath } from './open-in-root.ts';
import { Refusal } from './refusal.ts';
import { componentsBelowDev } from './safe-path.ts';
import { hasCode, SyscallError } from './syscall.ts';
import { isReadOnly, withWritableMount } from './writable-mount.ts';

/** What a grant will find and make for one node. */
export type NodePlan = Pick<GrantedDevice, 'node' | 'madeDirectories'>;

/**
 * Looks where a node will go. Throws `ContainerUnsupported` when it could not be made: another file is there, or the
 * directory is not the container's own.
 */
export function planNode(container: ContainerRoot, device: DeviceNode): NodePlan {
  const parts = componentsBelowDev(device.path);
  const there = lookAt(container, device, parts);
  if (isSameDevice(there.found, device)) return { node: 'found', madeDirectories: [] };
  if (there.found !== 'nothing') {
    const is = typeof there.found === 'string' ? 'another kind of file' : deviceKey(there.found);
    throw new Refusal(
      'ContainerUnsupported',
      `Cannot make device node "${device.path}": the container has ${is} there, is not ${deviceKey(device)}`,
    );
  }
  if (there.onHost) {
    throw new Refusal(
      'ContainerUnsupported',
      `Cannot make device node "${device.path}": the directory is the host's (hostPath volume) and is never written`,
    );
  }
  return { node: 'made', madeDirectories: there.missing };
}

function lookAt(container: ContainerRoot, { path }: DeviceNode, parts: readonly string[]): NodeThere {
  try {
    return withDev(container, (dev) => nodeAt(dev, parts));
  } catch (err) {
    throw unwritable(path, err);
  }
}

interface NodeThere {
  readonly found: ReturnType<typeof deviceAt>;
  /** Directories that are missing, absolute, outermost first. */
  readonly missing: readonly string[];
  /** The innermost directory that exists lies on a filesystem that the host has mounted, too. */
  readonly onHost: boolean;
}

function nodeAt(dev: Dev, parts: readonly string[]): NodeThere {
  const directories = parts.slice(0, -1);
  for (let depth = directories.length; ; depth--) {
    try {
      return withDirectory(dev, directories.slice(0, depth), (fd) => ({
        found: depth === directories.length ? deviceAt(fd, parts.at(-1) ?? '') : 'nothing',
        missing: directories
          .slice(depth)
          .map((_, index) => `/dev/${directories.slice(0, depth + index + 1).join('/')}`),
        onHost: isOfHost(fd),
      }));
    } catch (err) {
      if (!hasCode(err, 'ENOENT') || depth === 0) throw err;
    }
  }
}

/** Makes what `planNode` said. Idempotent. Returns whether a node was made. */
export function placeNode(container: ContainerRoot, device: DeviceNode): boolean {
  const parts = componentsBelowDev(device.path);
  const plan = planNode(container, device);
  if (plan.node === 'found') return false;
  try {
    if (container.inUserNamespace) return bindNode(container, parts, device);
    return withWritableDev(container, (dev) => {
      makeDirectories(dev, parts.slice(0, -1), (fd) => refuseHostDirectory(fd, device.path));
      return withDirectory(dev, parts.slice(0, -1), (fd) => {
        refuseHostDirectory(fd, device.path);
        return makeNode(fd, parts.at(-1) ?? '', device);
      });
    });
  } catch (err) {
    throw unwritable(device.path, err);
  }
}

function bindNode(container: ContainerRoot, parts: readonly string[], device: DeviceNode): boolean {
  if (!withWritableDev(container, (dev) => makeTarget(container, dev, parts, device))) return false;
  withDev(container, (dev) => mountNode(container, dev, parts, device));
  return true;
}

/** Between the look and now the container could have put another directory there; this descriptor cannot change. */
function refuseHostDirectory(fd: number, path: string): void {
  if (!isOfHost(fd)) return;
  throw new Refusal(
    'ContainerUnsupported',
    `Cannot make device node "${path}": the directory is the host's and is never written`,
  );
}

/**
 * Removes a node that a grant made, what an interrupted grant left, and directories of ours that are empty now. Whatever
 * stands there for another device stays. Returns whether the node was there.
 */
export function takeNode(container: ContainerRoot, device: GrantedDevice): boolean {
  if (device.node === 'found') return false;
  const unmounted =
    container.inUserNamespace &&
    ifWritable(() => withDev(container, (dev) => unmountNode(container, dev, componentsBelowDev(device.path), device)));
  return ifWritable(() => withWritableDev(container, (dev) => takeFrom(container, dev, device))) || unmounted;
}

/** A container that has ended took its mounts with it; what it has made unchangeable stays: without its rule it is no use. */
export function ifWritable(take: () => boolean): boolean {
  try {
    return ifThere(false, take);
  } catch (err) {
    if (hasCode(err, 'ESRCH', 'EROFS', 'EPERM', 'EACCES', 'EBUSY')) return false;
    throw err;
  }
}

function takeFrom(container: ContainerRoot, dev: Dev, device: GrantedDevice): boolean {
  const parts = componentsBelowDev(device.path);
  const name = parts.at(-1) ?? '';
  const removed = ifThere(false, () =>
    withDirectory(dev, parts.slice(0, -1), (fd) => {
      if (isOfHost(fd)) return false;
      removeNode(fd, temporaryName(name), device);
      if (container.inUserNamespace) removeTarget(fd, name);
      return removeNode(fd, name, device);
    }),
  );
  for (const directory of device.madeDirectories.toReversed()) {
    const below = componentsBelowDev(directory);
    ifThere(undefined, () => withDirectory(dev, below.slice(0, -1), (fd) => removeDirectory(fd, below.at(-1) ?? '')));
  }
  return removed;
}

/** Whether the container sees the right node at the path. */
export function hasNode(container: ContainerRoot, device: DeviceId & Pick<DeviceNode, 'path'>): boolean {
  const parts = componentsBelowDev(device.path);
  return ifThere(false, () =>
    withDev(container, (dev) =>
      withDirectory(dev, parts.slice(0, -1), (fd) => isSameDevice(deviceAt(fd, parts.at(-1) ?? ''), device)),
    ),
  );
}

/** What the container has moved away, or put a link or a file system of its own in place of, is not there. */
export function ifThere<T>(otherwise: T, use: () => T): T {
  try {
    return use();
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ELOOP', 'ENOTDIR', 'EWOULDBLOCK')) return otherwise;
    throw err;
  }
}

/** Like `withDev`, for changes: where the container's mount is read-only, through one of ours. */
function withWritableDev<T>(container: ContainerRoot, use: (dev: Dev) => T): T {
  return withDev(container, (dev) => {
    if (!isReadOnly(dev.fd)) return use(dev);
    // A volume of the host that is read-only for the container stays so for us.
    if (isOfHost(dev.fd)) throw new SyscallError('mknodat', 'EROFS', '/dev');
    return withWritableMount(container, dev.fd, (fd) => use({ fd, guard: unguarded }));
  });
}

export function withDev<T>({ rootFd, guard }: ContainerRoot, use: (dev: Dev) => T): T {
  return withPath(rootFd, '/dev', O_DIRECTORY, (fd) => use({ fd, guard }), guard);
}
