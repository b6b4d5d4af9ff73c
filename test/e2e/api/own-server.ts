import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CLUSTER_NAME, CONTROL_ADDRESS, TEMPORAL_ADDRESS } from '../../../deploy/local/addresses.ts';
import { REPOSITORY } from '../../../deploy/local/state.ts';
import { type Pair, TestCa } from '../../apiserver/pki.ts';
import type { Answer, Endpoint } from '../../apiserver/send.ts';
import { CLUSTER } from '../cluster.ts';
import { ask, find, remove } from '../kube.ts';
import { kubectlOk } from '../kubectl.ts';
import { apiAvailable } from '../nodes.ts';
import { until } from '../until.ts';
import { aggregated, auditIdOf, pem, ROOT } from './direct.ts';
import { KubeRelay } from './kube-relay.ts';

const NAMESPACE = 'contract-test';
const SERVICE = 'apiserver';
const NAME = `${SERVICE}.${NAMESPACE}.svc`;
const API_SERVICE = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.device-mounter.io';

/**
 * A process of the apiserver in its own right, with the rights of the deployed one, that the real kube-apiserver passes requests to as
 * long as it is `registered`. What it asks of the cluster goes through `relay`.
 */
export class OwnServer {
  readonly logLines: Record<string, unknown>[] = [];
  readonly relay: KubeRelay;
  readonly ca = TestCa.selfSigned('contract-ca');
  readonly process: ChildProcess;
  readonly exited: Promise<unknown>;
  /** Holds tls.crt and tls.key. */
  readonly folder: string;
  #port = 0;
  #registered: object | undefined;

  private constructor(relay: KubeRelay, token: string, flags: readonly string[]) {
    this.relay = relay;
    this.folder = mkdtempSync(join(tmpdir(), 'device-mounter-apiserver-'));
    this.writePair(this.issue());
    const kubeconfig = join(this.folder, 'kubeconfig');
    writeFileSync(kubeconfig, kubeconfigOf(relay.url, token), { mode: 0o600 });
    this.process = spawn(
      // It ends with these tests, whatever ends them.
      '/usr/bin/setpriv',
      [
        '--pdeathsig=KILL',
        process.execPath,
        join(REPOSITORY, 'apiserver', 'main.ts'),
        `--bind-address=${CONTROL_ADDRESS}`,
        '--secure-port=0',
        `--tls-dir=${this.folder}`,
        `--signing-key=${join(CLUSTER.paths.pki, 'product', 'private.pem')}`,
        `--kubeconfig=${kubeconfig}`,
        `--temporal-address=${TEMPORAL_ADDRESS}`,
        `--cluster-name=${CLUSTER_NAME}`,
        ...flags,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '--no-warnings' } },
    );
    this.exited = once(this.process, 'exit');
    const { stdout } = this.process;
    if (stdout === null) throw new Error('the process has no output');
    createInterface(stdout).on('line', (line) => this.logLines.push(JSON.parse(line) as Record<string, unknown>));
  }

  /** Starts one and waits until it is ready; with something to `prepare`, until it listens. */
  static async start(flags: readonly string[] = [], prepare?: (relay: KubeRelay) => void): Promise<OwnServer> {
    const place = '--namespace=device-mounter';
    const token = (await kubectlOk(['create', 'token', 'device-mounter-apiserver', place])).trim();
    const relay = await KubeRelay.open(pem('ca.crt'));
    prepare?.(relay);
    const server = new OwnServer(relay, token, flags);
    try {
      const line = await until('the server to listen', async () => server.logged('serving'));
      server.#port = Number(line['port']);
      if (prepare === undefined) await server.ready();
      return server;
    } catch (err) {
      await server.stop();
      throw err;
    }
  }

  async ready(): Promise<void> {
    await until('the server to know whom to believe', async () => this.logged('whom to believe was read'));
  }

  get endpoint(): Endpoint {
    return { host: CONTROL_ADDRESS, port: this.#port, ca: this.ca.pair.cert, servername: NAME };
  }

  logged(message: string): Record<string, unknown> | undefined {
    return this.logLines.find(({ msg }) => msg === message);
  }

  /** What the log tells of a request. */
  lineOf(answer: Answer): Record<string, unknown> | undefined {
    const id = auditIdOf(answer);
    return this.logLines.find(({ auditID }) => auditID === id);
  }

  issue(): Pair {
    return this.ca.issue({ subject: `/CN=${NAME}`, use: 'serverAuth', hosts: [NAME] });
  }

  writePair({ cert, key }: Pair): void {
    writeFileSync(join(this.folder, 'tls.crt'), cert);
    writeFileSync(join(this.folder, 'tls.key'), key, { mode: 0o600 });
  }

  /** Has kube-apiserver pass the requests of the group to this server instead of the deployed one. */
  async register(): Promise<void> {
    const service = await find<{ spec: { service: object; caBundle: string } }>(API_SERVICE);
    if (service === undefined) throw new Error('there is no APIService');
    await kubectlOk(['apply', '-f', '-'], JSON.stringify(placeOf(this.#port)));
    this.#registered = { service: service.spec.service, caBundle: service.spec.caBundle };
    const caBundle = Buffer.from(this.ca.pair.cert).toString('base64');
    await route({ service: { namespace: NAMESPACE, name: SERVICE, port: 443 }, caBundle });
    // Of a request that succeeds without a user the log says nothing.
    await until('kube-apiserver to pass requests on', async () =>
      this.lineOf(await aggregated({ path: `${ROOT}/nothing` })),
    );
  }

  async stop(): Promise<void> {
    try {
      if (this.#registered !== undefined) await unregister(this.#registered);
    } finally {
      if (this.process.exitCode === null) this.process.kill('SIGKILL');
      await this.exited;
      this.relay.close();
      rmSync(this.folder, { recursive: true });
    }
  }
}

async function unregister(deployed: object): Promise<void> {
  await route(deployed);
  const path = `/api/v1/namespaces/${NAMESPACE}`;
  await remove(path);
  await until('its namespace to be gone', async () => (await find(path)) === undefined);
}

async function route(spec: object): Promise<void> {
  await ask('PATCH', API_SERVICE, { spec });
  await apiAvailable();
}

/** A Service without selector keeps the endpoints that it is given. */
function placeOf(port: number): object {
  const metadata = { name: SERVICE, namespace: NAMESPACE };
  const items = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports: [{ name: 'https', port: 443 }] } },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': SERVICE } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [CONTROL_ADDRESS], conditions: { ready: true } }],
      ports: [{ name: 'https', port, protocol: 'TCP' }],
    },
  ];
  return { apiVersion: 'v1', kind: 'List', items };
}

function kubeconfigOf(server: string, token: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'c',
    clusters: [{ name: 'c', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'u', user: { token } }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
  });
}
