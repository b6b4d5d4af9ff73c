import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { TEMPORAL_HOST, TEMPORAL_PORTS } from '../../deploy/local/addresses.ts';
import { loadCluster } from '../../deploy/local/cluster.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { statePaths } from '../../deploy/local/state.ts';
import { setTemporalRetention } from '../../deploy/local/temporal.ts';
import { until } from './until.ts';

/** The cluster that `npm start -- --detach` has left running; without one every end-to-end test fails. */
export const CLUSTER = loadCluster(statePaths(process.env).root);

export const NODES = CLUSTER.nodes;

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

/** Ends Temporal with SIGKILL and starts it again with the same database; resolves once it listens. */
export async function restartTemporal(): Promise<void> {
  await CLUSTER.servers.temporal.stop('SIGKILL');
  await startTemporal();
}

/** Ends Temporal with SIGKILL and starts it with an empty database. */
export async function startWithEmptyTemporal(): Promise<void> {
  await CLUSTER.servers.temporal.stop('SIGKILL');
  for (const end of ['', '-wal', '-shm']) rmSync(`${CLUSTER.paths.temporalDatabase}${end}`, { force: true });
  await startTemporal();
  await until('Temporal to have its retention', () => setTemporalRetention(CLUSTER.tools));
}

async function startTemporal(): Promise<void> {
  await until('Temporal to listen again', async () => {
    CLUSTER.servers.temporal.start();
    return listens();
  });
}

function listens(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(TEMPORAL_PORTS.frontend, TEMPORAL_HOST);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
