import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TemporalServer } from '../workflows/temporal-server.ts';
import { MemoryKubeApi } from './kube-api.ts';
import { CLUSTER_NAME, claimCluster, isReady, memoryOf, NODE, shippedCode, shippedFlags } from './process.ts';

const HEALTH_PORT = 18_081;
const READY_MS = 60_000;
/** Ticks of /proc/PID/stat in a second (getconf CLK_TCK is 100 on every Linux architecture that Node has). */
const TICKS = 100;

/** What a process takes now. */
export interface Usage {
  /** VmRSS of /proc/PID/status. */
  readonly rssMiB: number;
  /** The same with what its helper processes have for themselves; their files are its own: Node's binary and libraries. */
  readonly withHelpersMiB: number;
  /** User and system time of it and its helpers since their start. */
  readonly cpuSeconds: number;
}

/**
 * The node worker as the DaemonSet starts it: the real process with the same flags, a real Temporal server, real TLS to a
 * kube-apiserver in memory. Its credentials are mounted where those of a pod are, in a mount namespace of its own.
 */
export class NodeProcess {
  readonly #folder: string;
  readonly #temporal: TemporalServer;
  readonly #kube: MemoryKubeApi;
  readonly #child: ChildProcess;
  #said = '';

  private constructor(folder: string, temporal: TemporalServer, kube: MemoryKubeApi, child: ChildProcess) {
    this.#folder = folder;
    this.#temporal = temporal;
    this.#kube = kube;
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#said += chunk.toString();
      });
    }
  }

  /** Resolves when it is ready. `pods` are the slaves of its mounts. */
  static async start(stateDir: string, pods: readonly object[]): Promise<NodeProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'bench-node-'));
    const [temporal, kube] = await Promise.all([TemporalServer.start(), MemoryKubeApi.start(pods)]);
    await claimCluster(temporal.address);
    const node = new NodeProcess(folder, temporal, kube, spawnWorker(folder, stateDir, temporal, kube));
    try {
      await node.#ready();
      return node;
    } catch (err) {
      await node.stop();
      throw err;
    }
  }

  get usage(): Usage {
    const pid = this.#child.pid ?? 0;
    const helpers = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
    const ofHelpers = helpers.reduce((sum, helper) => sum + memoryOf(helper, 'RssAnon'), 0);
    const cpuSeconds = [pid, ...helpers].reduce((sum, one) => sum + cpuSecondsOf(one), 0);
    return { rssMiB: memoryOf(pid, 'VmRSS'), withHelpersMiB: memoryOf(pid, 'VmRSS') + ofHelpers, cpuSeconds };
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
    await this.#temporal.stop();
    rmSync(this.#folder, { recursive: true });
  }

  async #ready(): Promise<void> {
    const end = performance.now() + READY_MS;
    while (!(await isReady(HEALTH_PORT))) {
      if (this.#child.exitCode !== null || performance.now() > end) {
        throw new Error(`the node worker does not get ready: ${this.#said}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')')).split(' ');
  return (Number(fields[12]) + Number(fields[13])) / TICKS;
}

function spawnWorker(folder: string, stateDir: string, temporal: TemporalServer, kube: MemoryKubeApi): ChildProcess {
  const keys = join(folder, 'public.pem');
  writeFileSync(keys, generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }));
  writeFileSync(join(folder, 'ca.crt'), kube.ca);
  writeFileSync(join(folder, 'token'), 'bench');
  for (const part of ['kubelet/pods', 'plugins']) mkdirSync(join(folder, part), { recursive: true });
  const account = '/run/secrets/kubernetes.io/serviceaccount';
  const enter = `mount --make-rprivate / && mount -t tmpfs run /run && mkdir -p ${account} && cp ${folder}/ca.crt ${folder}/token ${account} && exec "$@"`;
  const { nodeFlags, env } = shippedFlags('device-mounter-daemonset.yaml', 'node-worker/main.ts');
  const main = join(shippedCode(join(folder, 'app'), ['node-worker', 'proto']), 'node-worker', 'main.ts');
  const paths = [
    `--state-dir=${stateDir}`,
    `--signing-public-keys=${keys}`,
    `--kubelet-dir=${folder}/kubelet`,
    `--device-plugin-dir=${folder}/plugins`,
    `--cri-socket=${folder}/no-runtime.sock`,
  ];
  const settings = ['--namespace=bench', '--node-name=n1', `--health-port=${HEALTH_PORT}`];
  const outside = ['unshare', '--mount', 'sh', '-c', enter, 'sh'];
  const command = [...outside, NODE, ...nodeFlags, main, ...settings, ...paths];
  return spawn(command[0] ?? '', command.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      ...env,
      TEMPORAL_ADDRESS: temporal.address,
      CLUSTER_NAME,
      KUBERNETES_SERVICE_HOST: '127.0.0.1',
      KUBERNETES_SERVICE_PORT: String(kube.port),
    },
  });
}
