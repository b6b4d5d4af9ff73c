import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { pino } from 'pino';
import { type AppDeps, createApp } from '../../apiserver/app.ts';
import type { ReviewSpec, ReviewStatus } from '../../apiserver/identity/authorization.ts';
import { parseTrust, type Trust } from '../../apiserver/identity/trust.ts';
import type { ListObjects } from '../../apiserver/mounts/objects.ts';
import type { TargetPod } from '../../apiserver/requests/target.ts';
import { Metrics } from '../../apiserver/server/metrics.ts';
import { TlsServer } from '../../apiserver/server/tls-server.ts';
import { MemoryMounts } from './memory-mounts.ts';
import { TestCa } from './pki.ts';
import { type Answer, type SendOptions, send } from './send.ts';

/** Certificates of one cluster; made once, since each takes a while. */
export function makeCluster() {
  const serving = TestCa.selfSigned('serving-ca');
  const frontProxy = TestCa.selfSigned('front-proxy-ca');
  const clients = TestCa.selfSigned('kubernetes');
  return {
    serving,
    frontProxy,
    clients,
    server: serving.issue({ subject: '/CN=apiserver', use: 'serverAuth', hosts: ['127.0.0.1', 'localhost'] }),
    proxy: frontProxy.issue({ subject: '/CN=front-proxy-client' }),
    trust: trustOf(frontProxy.pair.cert, clients.pair.cert),
  };
}

export type TestCluster = ReturnType<typeof makeCluster>;

/** The data of the ConfigMap as kube-apiserver writes it. */
export function trustData(frontProxyCa: string, clientCa: string): Record<string, string> {
  return {
    'client-ca-file': clientCa,
    'requestheader-client-ca-file': frontProxyCa,
    'requestheader-allowed-names': '["front-proxy-client"]',
    'requestheader-username-headers': '["X-Remote-User"]',
    'requestheader-uid-headers': '["X-Remote-Uid"]',
    'requestheader-group-headers': '["X-Remote-Group"]',
    'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
  };
}

export function trustOf(frontProxyCa: string, clientCa: string): Trust {
  return parseTrust(trustData(frontProxyCa, clientCa));
}

export const WEB: TargetPod = {
  namespace: 'default',
  name: 'web-0',
  uid: 'uid-of-web-0',
  containers: ['main', 'sidecar'],
  running: ['main', 'sidecar', 'proxy'],
  sidecars: ['proxy'],
  annotations: {},
  node: 'node-1',
  phase: 'Running',
  priority: 1_000,
  ending: false,
};

/** A request that whoever may mount can make, and that changes nothing. */
export const DRY_RUN = {
  method: 'PUT',
  path: '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0/mount?device_type=HOSTDEV&dryRun=All',
  body: '{"resources":{"hostdev.k8s.io/dev_fuse":1}}',
} as const satisfies SendOptions;

/** A server on loopback with everything behind it in memory. */
export class TestServer {
  readonly mounts = new MemoryMounts();
  readonly reviews: ReviewSpec[] = [];
  readonly pods = new Map<string, TargetPod>([['default/web-0', WEB]]);
  readonly priorities = new Map([
    ['high', 1_001],
    ['same', 1_000],
    ['system-node-critical', 2_000_001_000],
  ]);
  readonly keys = generateKeyPairSync('ed25519');
  readonly logLines: Record<string, unknown>[] = [];
  listObjects: ListObjects = (target) => this.mounts.listObjects(target);
  review: (spec: ReviewSpec) => ReviewStatus | Promise<ReviewStatus> = () => ({ allowed: true });
  trust: Trust | undefined;
  ready: string | undefined;
  readonly cluster: TestCluster;
  readonly tls: TlsServer;
  port = 0;

  constructor(cluster: TestCluster, more: Partial<AppDeps> = {}) {
    this.cluster = cluster;
    this.trust = cluster.trust;
    const app = createApp({
      trust: () => this.trust,
      review: async (spec) => {
        this.reviews.push(spec);
        return this.review(spec);
      },
      getPod: async (namespace, name) => this.pods.get(`${namespace}/${name}`),
      getPriority: async (name) => this.priorities.get(name),
      mounts: this.mounts,
      listObjects: (target) => this.listObjects(target),
      clusterName: async () => 'test',
      signingKey: () => this.keys.privateKey,
      readiness: { checks: { test: () => this.ready } },
      log: pino({}, { write: (line) => this.logLines.push(JSON.parse(line) as Record<string, unknown>) }),
      metrics: new Metrics(),
      maxMutatingRequests: 10,
      ...more,
    });
    const { cert, key } = cluster.server;
    this.tls = new TlsServer({ cert, key, expires: new X509Certificate(cert).validToDate }, cluster.trust.pem, app);
  }

  async start(): Promise<this> {
    this.port = await this.tls.listen(0, '127.0.0.1');
    return this;
  }

  async stop(): Promise<void> {
    await this.tls.drain(0);
  }

  /** A request as the aggregator sends it for `user`. */
  as(
    user: string,
    options: Omit<SendOptions, 'client'> & { readonly groups?: readonly string[] } = {},
  ): Promise<Answer> {
    const groups = (options.groups ?? []).flatMap((group) => ['X-Remote-Group', group]);
    const headers = ['X-Remote-User', user, ...groups, ...(options.headers ?? [])];
    return this.send({ ...options, headers, client: this.cluster.proxy });
  }

  send(options: SendOptions): Promise<Answer> {
    return send({ host: '127.0.0.1', port: this.port, ca: this.cluster.serving.pair.cert }, options);
  }
}
