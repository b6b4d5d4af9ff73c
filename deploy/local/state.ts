import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** The checkout. */
export const REPOSITORY = resolve(import.meta.dirname, '../..');

/** Where a cluster keeps what it is and does. Everything below `root` may be removed while it is stopped. */
export interface StatePaths {
  readonly root: string;
  readonly kubeconfig: string;
  readonly pki: string;
  readonly log: string;
  /** One file per server, see identity.ts. */
  readonly pids: string;
  readonly etcd: string;
  readonly temporalDatabase: string;
  /** Mount namespaces of the nodes, one bound file each. */
  readonly namespaces: string;
  /** Folders that were made on the machine to mount on, one a line. */
  readonly mountPoints: string;
  readonly images: string;
  /** What was started, written before the first server, see cluster.ts. */
  readonly description: string;
  /** The process that starts, or stays in the foreground of, this cluster. */
  readonly starter: string;
  readonly config: string;
}

/** `DEVICE_MOUNTER_STATE` tells several clusters of tests apart; one of them can run at a time. */
export function statePaths(env: NodeJS.ProcessEnv): StatePaths {
  const root = resolve(env['DEVICE_MOUNTER_STATE'] ?? join(REPOSITORY, '.local'));
  return {
    root,
    kubeconfig: join(root, 'kubeconfig'),
    pki: join(root, 'pki'),
    log: join(root, 'log'),
    pids: join(root, 'pids'),
    etcd: join(root, 'etcd'),
    temporalDatabase: join(root, 'temporal', 'temporal.db'),
    namespaces: join(root, 'namespaces'),
    mountPoints: join(root, 'mount-points'),
    images: join(root, 'images'),
    description: join(root, 'cluster.json'),
    starter: join(root, 'starter.pid'),
    config: join(root, 'config'),
  };
}

/** What is worth keeping between checkouts: `$XDG_CACHE_HOME/device-mounter` (XDG Base Directory Specification). */
export function cacheFolder(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'device-mounter');
}

/** Whether a cluster was started here and not stopped since. */
export function isDescribed(paths: StatePaths): boolean {
  return existsSync(paths.description);
}
