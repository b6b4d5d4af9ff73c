import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROL_ADDRESS, PORTS } from '../../../deploy/local/addresses.ts';
import type { ForgersKeys } from '../../apiserver/forgeries.ts';
import { type Pair, TestCa } from '../../apiserver/pki.ts';
import { type Answer, type Endpoint, type SendOptions, send } from '../../apiserver/send.ts';
import { CLUSTER } from '../cluster.ts';
import { find } from '../kube.ts';
import { FUSE } from '../pods.ts';

export const ROOT = '/apis/device-mounter.io/v1alpha1';

export const pem = (name: string): string => readFileSync(join(CLUSTER.paths.pki, name), 'utf8');
const pairOf = (name: string): Pair => ({ cert: pem(`${name}.crt`), key: pem(`${name}.key`) });

/** The real keys of the local cluster. */
export const KEYS: ForgersKeys & { readonly admin: Pair } = {
  frontProxy: new TestCa(pairOf('front-proxy-ca')),
  clients: new TestCa(pairOf('ca')),
  proxy: pairOf('front-proxy-client'),
  server: pairOf('product/tls'),
  admin: pairOf('admin'),
};

/** The apiserver's own port, past kube-apiserver. */
export async function deployedServer(): Promise<Endpoint & { readonly servername: string }> {
  const path = '/api/v1/namespaces/device-mounter/services/device-mounter-apiserver';
  const service = await find<{ spec: { clusterIP: string } }>(path);
  const servername = 'device-mounter-apiserver.device-mounter.svc';
  return { host: service?.spec.clusterIP ?? '', port: 443, ca: pem('product/ca.crt'), servername };
}

/** Each replica of it by itself. */
export async function deployedReplicas(): Promise<readonly Endpoint[]> {
  const { ca, servername } = await deployedServer();
  const labelSelector = 'kubernetes.io/service-name=device-mounter-apiserver';
  const path = `/apis/discovery.k8s.io/v1/namespaces/device-mounter/endpointslices?labelSelector=${labelSelector}`;
  const slices = await find<{ items: readonly EndpointSlice[] }>(path);
  return (slices?.items ?? []).flatMap(({ endpoints, ports }) =>
    endpoints
      .filter(({ conditions }) => conditions.ready)
      .map(({ addresses: [host = ''] }) => ({ host, port: ports[0]?.port ?? 0, ca, servername })),
  );
}

interface EndpointSlice {
  readonly endpoints: readonly {
    readonly addresses: readonly string[];
    readonly conditions: { readonly ready: boolean };
  }[];
  readonly ports: readonly { readonly port: number }[];
}

/** kube-apiserver, to which the product is a part of its API. */
const AGGREGATOR: Endpoint = { host: CONTROL_ADDRESS, port: PORTS.apiserver, ca: pem('ca.crt') };

/** A request through kube-apiserver, as its admin unless another certificate or header tells otherwise. */
export function aggregated(options: SendOptions): Promise<Answer> {
  return send(AGGREGATOR, { client: KEYS.admin, ...options });
}

/** kube-apiserver adds its own `Audit-ID` to ours, which is the same. */
export function auditIdOf({ headers }: Answer): string {
  const text = String(headers['audit-id']);
  const [id = '', ...again] = text.split(', ');
  if (again.some((other) => other !== id)) throw new Error(`the answer has several ids: ${text}`);
  return id;
}

/** Headers by which the front proxy tells whose request it passes on. */
export function behalfOf(user: string, ...groups: string[]): string[] {
  return ['X-Remote-User', user, ...groups.flatMap((group) => ['X-Remote-Group', group])];
}

/** A mount that is only checked: 200 for whoever may make it. */
export function dryMount(pod: string): SendOptions {
  const path = mountPath(pod, 'device_type=HOSTDEV&dryRun=All');
  return { method: 'PUT', path, body: JSON.stringify({ resources: { [FUSE]: '1' } }) };
}

export function mountPath(pod: string, query = 'device_type=HOSTDEV&wait_second=38', verb = 'mount'): string {
  return `${ROOT}/namespaces/default/pods/${pod}/${verb}?${query}`;
}
