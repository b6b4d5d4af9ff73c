import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadCluster } from '../../deploy/local/cluster.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { statePaths } from '../../deploy/local/state.ts';
import { until } from './until.ts';

/** The cluster that `npm start -- --detach` has left running; without one every end-to-end test fails. */
export const CLUSTER = loadCluster(statePaths(process.env).root);

export const NODES = CLUSTER.nodes;

const certificate = (name: string): { cert: string; key: string } => ({
  cert: join(CLUSTER.paths.pki, `${name}.crt`),
  key: join(CLUSTER.paths.pki, `${name}.key`),
});

/** Client certificates that are valid for kube-apiserver; none may speak for somebody else. */
export const CERTIFICATES = { admin: certificate('admin'), kubelet: certificate('kubelet-client') };

/** The process of the node worker that runs on `node`: the one whose environment names the node. */
export function nodeWorkerPid(node: ClusterNode): Promise<number> {
  return until(`the node worker of ${node.name}`, async () => processes().find((pid) => isNodeWorker(pid, node.name)));
}

function isNodeWorker(pid: number, node: string): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    if (!words.includes('node-worker/main.ts')) return false;
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`NODE_NAME=${node}`);
  } catch {
    // It has ended since the folder was read.
    return false;
  }
}

function processes(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Ends Temporal with SIGKILL and starts it again with the same database. */
export async function restartTemporal(): Promise<void> {
  await CLUSTER.servers.temporal.stop('SIGKILL');
  CLUSTER.servers.temporal.start();
}
