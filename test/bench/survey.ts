import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryCluster } from '../workflows/memory-cluster.ts';
import { ClusterApi } from './cluster-api.ts';
import { type Figure, measured } from './figure.ts';
import { showMany } from './many-mounts.ts';
import { memoryOf, NODE, shippedFlags } from './process.ts';

const SIZES = [0, 10_000];

/** What a process takes at most that surveys mounts with the flags of the control worker, and how long a survey takes. Owners are made up. */
export async function benchSurvey(): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const size of SIZES) {
    const { rssMiB, ms } = await surveyed(size);
    figures.push(measured(`survey.${size}-mounts.rss`, rssMiB, 'MiB'), measured(`survey.${size}-mounts`, ms, 'ms'));
  }
  return figures;
}

async function surveyed(size: number): Promise<{ readonly rssMiB: number; readonly ms: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-survey-'));
  const cluster = new MemoryCluster();
  await showMany(cluster, size);
  const kube = await ClusterApi.start(cluster);
  const { nodeFlags, env } = shippedFlags('device-mounter-apiserver.yaml', 'workflows/main.ts');
  const startedMs = performance.now();
  const child = fork(join(import.meta.dirname, 'survey-process.ts'), [kube.kubeconfigIn(folder), String(size)], {
    execPath: NODE,
    execArgv: ['--no-warnings', ...nodeFlags],
    env: { PATH: process.env['PATH'], ...env },
  });
  try {
    const [seen] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown];
    if (seen !== 2 * size) throw new Error(`it has seen ${String(seen)} mounts instead of ${2 * size}`);
    return { rssMiB: memoryOf(child.pid ?? 0, 'VmHWM'), ms: (performance.now() - startedMs) / 2 };
  } finally {
    child.kill();
    kube.stop();
    rmSync(folder, { recursive: true });
  }
}
