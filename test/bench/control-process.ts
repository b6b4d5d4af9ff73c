import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildWorkflowBundle } from '../../workflows/bundle.ts';
import type { MemoryCluster } from '../workflows/memory-cluster.ts';
import { PUBLIC_KEY } from '../workflows/requests.ts';
import { TemporalServer } from '../workflows/temporal-server.ts';
import { ClusterApi } from './cluster-api.ts';
import { CLUSTER_NAME, isReady, memoryOf, NODE, shippedCode, shippedFlags } from './process.ts';

const HEALTH_PORT = 18_082;
const READY_MS = 60_000;
const MAIN = 'workflows/main.ts';

/** The control worker as its Deployment starts it: the real process with the same flags, a real Temporal server, a cluster in memory. */
export class ControlProcess {
  readonly temporal: TemporalServer;
  readonly #folder: string;
  readonly #kube: ClusterApi;
  readonly #child: ChildProcess;
  #said = '';

  private constructor(folder: string, temporal: TemporalServer, kube: ClusterApi, child: ChildProcess) {
    this.#folder = folder;
    this.temporal = temporal;
    this.#kube = kube;
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#said += chunk.toString();
      });
    }
  }

  /** Resolves when it is ready. */
  static async start(
    cluster: MemoryCluster,
    flags = shippedFlags('device-mounter-apiserver.yaml', MAIN),
  ): Promise<ControlProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'bench-control-'));
    const app = shippedCode(join(folder, 'app'), ['workflows', 'activities']);
    writeFileSync(join(app, 'workflow-bundle.js'), await buildWorkflowBundle());
    const [temporal, kube] = await Promise.all([TemporalServer.start(), ClusterApi.start(cluster)]);
    // It ends with the bench, whatever ends that.
    const command = ['--pdeathsig=KILL', NODE, ...flags.nodeFlags, join(app, MAIN), ...settingsOf(folder, kube)];
    const child = spawn('setpriv', command, {
      cwd: app,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], ...flags.env, TEMPORAL_ADDRESS: temporal.address, CLUSTER_NAME },
    });
    const control = new ControlProcess(folder, temporal, kube, child);
    try {
      await control.#ready();
      return control;
    } catch (err) {
      await control.stop();
      throw err;
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get rssMiB(): number {
    return memoryOf(this.pid, 'VmRSS');
  }

  /** What it has logged. */
  get said(): string {
    return this.#said;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode === null) {
      this.#child.kill('SIGTERM');
      await ended;
    }
    this.#kube.stop();
    await this.temporal.stop();
    rmSync(this.#folder, { recursive: true });
  }

  async #ready(): Promise<void> {
    const end = performance.now() + READY_MS;
    while (!(await isReady(HEALTH_PORT)) || !this.#said.includes('"running"')) {
      if (this.#child.exitCode !== null || performance.now() > end) {
        throw new Error(`the control worker does not get ready: ${this.#said}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function settingsOf(folder: string, kube: ClusterApi): readonly string[] {
  const keys = join(folder, 'public.pem');
  writeFileSync(keys, PUBLIC_KEY.export({ type: 'spki', format: 'pem' }));
  return [`--kubeconfig=${kube.kubeconfigIn(folder)}`, `--signing-public-keys=${keys}`, `--health-port=${HEALTH_PORT}`];
}
