import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROL_ADDRESS, POD_RANGE, PORTS, SERVICE_RANGE } from './addresses.ts';
import type { ServerSpec } from './server.ts';
import type { StatePaths } from './state.ts';
import type { ToolFolders } from './tools.ts';

export type ControlPlaneName = 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler' | 'kube-proxy';

const ETCD_URL = `http://127.0.0.1:${PORTS.etcdClient}`;
const ETCD_PEER_URL = `http://127.0.0.1:${PORTS.etcdPeer}`;

/** `{ 'a-b': 'c', d: true }` → `--a-b=c --d=true` */
export function flagsOf(options: Readonly<Record<string, string | number | boolean>>): string[] {
  return Object.entries(options).map(([name, value]) => `--${name}=${value}`);
}

function apiserverFlags(pki: (name: string) => string): string[] {
  return flagsOf({
    'etcd-servers': ETCD_URL,
    'secure-port': PORTS.apiserver,
    'bind-address': CONTROL_ADDRESS,
    'advertise-address': CONTROL_ADDRESS,
    'service-cluster-ip-range': SERVICE_RANGE,
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-signing-key-file': pki('service-account.key'),
    'service-account-key-file': pki('service-account.pub'),
    'client-ca-file': pki('ca.crt'),
    'tls-cert-file': pki('apiserver.crt'),
    'tls-private-key-file': pki('apiserver.key'),
    'authorization-mode': 'Node,RBAC',
    'enable-admission-plugins': 'NodeRestriction',
    'requestheader-client-ca-file': pki('front-proxy-ca.crt'),
    'requestheader-allowed-names': 'front-proxy-client',
    'requestheader-username-headers': 'X-Remote-User',
    'requestheader-group-headers': 'X-Remote-Group',
    'requestheader-extra-headers-prefix': 'X-Remote-Extra-',
    'proxy-client-cert-file': pki('front-proxy-client.crt'),
    'proxy-client-key-file': pki('front-proxy-client.key'),
    'kubelet-client-certificate': pki('kubelet-client.crt'),
    'kubelet-client-key': pki('kubelet-client.key'),
    'kubelet-preferred-address-types': 'InternalIP,Hostname',
    'allow-privileged': true,
    profiling: false,
  });
}

/** Programs of the control plane and kube-proxy. Nothing listens anywhere but on `CONTROL_ADDRESS` and 127.0.0.1. */
export function controlPlaneSpecs(paths: StatePaths, tools: ToolFolders): Record<ControlPlaneName, ServerSpec> {
  const pki = (name: string): string => join(paths.pki, name);
  const config = (name: string): string => join(paths.config, name);
  const program = (name: ControlPlaneName, args: readonly string[]): ServerSpec => ({
    name,
    command: join(name === 'etcd' ? tools.etcd : tools.kubernetes, name),
    args,
  });
  return {
    etcd: program(
      'etcd',
      flagsOf({
        'data-dir': paths.etcd,
        'listen-client-urls': ETCD_URL,
        'advertise-client-urls': ETCD_URL,
        'listen-peer-urls': ETCD_PEER_URL,
        'initial-advertise-peer-urls': ETCD_PEER_URL,
        'initial-cluster': `default=${ETCD_PEER_URL}`,
        // The cluster is thrown away at every stop, so nothing is lost by a crash of the machine.
        'unsafe-no-fsync': true,
      }),
    ),
    'kube-apiserver': program('kube-apiserver', apiserverFlags(pki)),
    'kube-controller-manager': program(
      'kube-controller-manager',
      flagsOf({
        kubeconfig: config('controller-manager.kubeconfig'),
        'service-account-private-key-file': pki('service-account.key'),
        'root-ca-file': pki('ca.crt'),
        'cluster-signing-cert-file': pki('ca.crt'),
        'cluster-signing-key-file': pki('ca.key'),
        'use-service-account-credentials': true,
        'leader-elect': false,
        'secure-port': 0,
        // The controllers start one after the other and each asks several times: 3 s at the default of 20 requests a second.
        'kube-api-qps': 1000,
        'kube-api-burst': 1000,
      }),
    ),
    'kube-scheduler': program('kube-scheduler', flagsOf({ config: config('scheduler.json'), 'secure-port': 0 })),
    'kube-proxy': program('kube-proxy', flagsOf({ config: config('kube-proxy.json') })),
  };
}

function schedulerConfig(paths: StatePaths): unknown {
  return {
    apiVersion: 'kubescheduler.config.k8s.io/v1',
    kind: 'KubeSchedulerConfiguration',
    clientConnection: { kubeconfig: join(paths.config, 'scheduler.kubeconfig') },
    leaderElection: { leaderElect: false },
  };
}

/** Releases before 1.29 have no `nftables`. Only the rules of that are removed with the cluster. */
export type ProxyMode = 'nftables' | 'iptables';

function kubeProxyConfig(paths: StatePaths, mode: ProxyMode): unknown {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    clientConnection: { kubeconfig: join(paths.config, 'kube-proxy.kubeconfig') },
    // One kube-proxy serves all nodes, because they share the network of this machine.
    hostnameOverride: 'node-1',
    clusterCIDR: POD_RANGE,
    metricsBindAddress: `127.0.0.1:${PORTS.kubeProxyMetrics}`,
    healthzBindAddress: `127.0.0.1:${PORTS.kubeProxyHealth}`,
    // Otherwise it changes settings of the kernel for ports on 127.0.0.1, which nobody needs.
    ...(mode === 'iptables' && { iptables: { localhostNodePorts: false } }),
    // Services need no more than the kernel tracks already; the machine's own limits stay as they are.
    conntrack: { maxPerCore: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  };
}

/** Writes the configuration files that the specs name; kubeconfigs come from `createPki`. */
export function writeControlPlaneConfig(paths: StatePaths, proxyMode: ProxyMode = 'nftables'): void {
  mkdirSync(paths.config, { recursive: true, mode: 0o700 });
  writeFileSync(join(paths.config, 'scheduler.json'), JSON.stringify(schedulerConfig(paths), null, 2));
  writeFileSync(join(paths.config, 'kube-proxy.json'), JSON.stringify(kubeProxyConfig(paths, proxyMode), null, 2));
}
