import { readFileSync } from 'node:fs';
import type { ContainerRoot } from './container-root.ts';
import { hostIdOf } from './id-map.ts';
import { syscall } from './syscall.ts';

/** The host's ids of those inside a container. An id that its user namespace does not have is its root's. */
export interface HostIds {
  readonly uid: (inside: number) => number;
  readonly gid: (inside: number) => number;
}

export function idsOf({ pid }: Pick<ContainerRoot, 'pid'>): HostIds {
  const mapping = (file: string): ((id: number) => number) => {
    const map = readFileSync(`/proc/${pid}/${file}`, 'latin1');
    return (id) => hostIdOf(map, id) ?? hostIdOf(map, 0) ?? 0;
  };
  return { uid: mapping('uid_map'), gid: mapping('gid_map') };
}

/**
 * Runs `use`, which makes files, as the root of the container's user namespace: others are not mapped there. This thread's ids only.
 */
export function asRootOf<T>(container: Pick<ContainerRoot, 'pid' | 'inUserNamespace'>, use: () => T): T {
  if (!container.inUserNamespace) return use();
  const { uid, gid } = idsOf(container);
  syscall('setfsgid', [gid(0)]);
  syscall('setfsuid', [uid(0)]);
  try {
    return use();
  } finally {
    syscall('setfsuid', [0]);
    syscall('setfsgid', [0]);
  }
}
