import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RuntimeContainer } from '../../node-worker/runtime/cri.ts';
import { runtimeOf, type StartOptions, type TestContainer } from './container.ts';
import { WORK } from './places.ts';

/** What it mounts by default (ascend-docker-runtime c451124, build/scripts/base.list). */
export const BASE_LIST = [
  '/usr/local/Ascend/driver/lib64',
  '/usr/local/Ascend/driver/include',
  '/usr/local/dcmi',
  '/usr/local/bin/npu-smi',
] as const;

/**
 * Runs in the mount namespace of a container whose root is prepared and not entered yet, as hook/main.go and cli/src/u_mount.c do: what the host has of
 * the list is bound to the same path, on what was made there for it, read-only and without set-user-id.
 */
const HOOK = `#!/bin/sh -e
state=$(cat)
pid=$(echo "$state" | sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
root=$(echo "$state" | sed 's/.*"bundle": *"\\([^"]*\\)".*/\\1/')/rootfs
exec nsenter --mount=/proc/$pid/ns/mnt sh -ec '
  root=$1 host=$2
  shift 2
  for path; do
    if test -d "$host$path"; then
      mkdir -p "$root$path"
    else
      mkdir -p "$root\${path%/*}"
      touch "$root$path"
    fi
    mount --bind "$host$path" "$root$path"
    mount -o remount,bind,ro,nosuid "$root$path"
  done' sh "$root" "$@"
`;

type Device = NonNullable<StartOptions['devices']>[number];

/** Starts a container as Ascend Docker Runtime does: with nodes for NPUs, and files of the host, whose root is `hostRoot`. */
export function byAscendRuntime(
  hostRoot: string,
  devices: readonly Device[],
  files: readonly string[] = BASE_LIST,
): Pick<StartOptions, 'devices' | 'prestart'> {
  const hook = join(WORK, 'ascend-docker-hook');
  mkdirSync(WORK, { recursive: true });
  writeFileSync(hook, HOOK, { mode: 0o755 });
  return { devices: devices.map((device) => ({ ...device, access: 'rwm' })), prestart: [hook, hostRoot, ...files] };
}

/** It changes the bundle's config.json behind the back of the CRI runtime, which knows of none of the nodes. */
export function runtimeOfAscend(container: TestContainer, devices: readonly Device[]): RuntimeContainer {
  const runtime = runtimeOf(container);
  const spec = runtime.spec?.filter(({ major, minor }) =>
    devices.every((device) => device.major !== major || device.minor !== minor),
  );
  return { ...runtime, spec };
}
