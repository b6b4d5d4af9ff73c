/**
 * Fixed addresses of the local cluster. They are put on `lo`, because the API server refuses 127.0.0.0/8 as its endpoint and
 * pods cannot reach it; the machine's real addresses are never listened on.
 */
export const CONTROL_ADDRESS = '10.97.0.1';
/** First address of the Service range: `kubernetes.default.svc`. */
export const SERVICE_RANGE = '10.96.0.0/16';
export const KUBERNETES_SERVICE_ADDRESS = '10.96.0.1';
export const POD_RANGE = '10.244.0.0/16';
/** Of `POD_RANGE` and of no node's part of it, see firewall.ts. */
export const PROBE_ADDRESS = '10.244.255.254';

/** TCP ports on `CONTROL_ADDRESS`, and (etcd, kube-proxy) on 127.0.0.1. Away from the usual ones, so that a real node may run here. */
export const PORTS = {
  apiserver: 16443,
  etcdClient: 12379,
  etcdPeer: 12380,
  kubelet: 11250,
  kubeProxyMetrics: 11249,
  kubeProxyHealth: 11256,
} as const;

/** Temporal has a network namespace of its own, see networks.ts. */
export const TEMPORAL_HOST = '10.97.0.2';
export const TEMPORAL_PORTS = { frontend: 7233, ui: 8233 } as const;

export const TEMPORAL_ADDRESS = `${TEMPORAL_HOST}:${TEMPORAL_PORTS.frontend}`;
export const TEMPORAL_UI = `http://${TEMPORAL_HOST}:${TEMPORAL_PORTS.ui}`;
export const APISERVER_URL = `https://${CONTROL_ADDRESS}:${PORTS.apiserver}`;

/** What the local cluster is called in Temporal. */
export const CLUSTER_NAME = 'local';
