import { randomBytes } from 'node:crypto';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { ANNOTATIONS, SLAVE_LABELS } from '../../contract/names.ts';
import { getJson, kubectl, kubectlOk, type Outcome } from './kubectl.ts';
import { until } from './until.ts';

export const FUSE = 'hostdev.k8s.io/dev_fuse';
export const TUN = 'hostdev.k8s.io/dev_net_tun';
/** Of which a node has many. */
export const KMSG = 'hostdev.k8s.io/dev_kmsg';

interface PodList {
  readonly items: readonly { readonly metadata: { readonly name: string; readonly uid: string } }[];
}

/** The one container of target pods. */
export function busybox(command: readonly string[], more: object = {}): object {
  return { name: 'main', image: 'localhost/busybox:1', imagePullPolicy: 'Never', command, ...more };
}

/** Starts a busybox pod on `node`, waits until it is ready, and answers its name. */
export async function startPod(node: string, spec: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const name = `target-${randomBytes(4).toString('hex')}`;
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { 'e2e-test': 'target' } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      tolerations: [{ operator: 'Exists' }],
      containers: [busybox(['sleep', '100000'])],
      ...spec,
    },
  };
  await kubectlOk(['create', '-f', '-'], JSON.stringify(pod));
  await kubectlOk(['wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s']);
  return name;
}

export async function deletePod(name: string): Promise<void> {
  await kubectlOk(['delete', 'pod', name, '--ignore-not-found', '--wait=true']);
}

/** As `kubectl drain` does it for each pod. */
export async function evictPod(name: string): Promise<void> {
  const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: 'default' } };
  const path = `/api/v1/namespaces/default/pods/${name}/eviction`;
  await kubectlOk(['create', '--raw', path, '-f', '-'], JSON.stringify(eviction));
}

/** Runs a shell line inside of the pod's container. */
export async function inPod(pod: string, line: string): Promise<Outcome> {
  return kubectl(['exec', pod, '--', '/bin/sh', '-c', line]);
}

const pathOf = (pod: string, verb: 'mount' | 'unmount', query: string): string =>
  `/apis/device-mounter.io/v1alpha1/namespaces/default/pods/${pod}/${verb}?device_type=HOSTDEV${query}`;

/** `kubectl replace --raw` of a mount of one `resource`. */
export async function mount(pod: string, resource: string, query = '', body: object = {}): Promise<Outcome> {
  const input = JSON.stringify({ resources: { [resource]: '1' }, ...body });
  return kubectl(['replace', '--raw', pathOf(pod, 'mount', query), '-f', '-'], input);
}

export async function mountOk(pod: string, resource: string, query = '', body: object = {}): Promise<DeviceMount> {
  const { code, stdout, stderr } = await mount(pod, resource, query, body);
  if (code !== 0) throw new Error(`mount of ${resource} into ${pod} ended with ${code}: ${stderr}${stdout}`);
  return JSON.parse(stdout) as DeviceMount;
}

export async function unmount(pod: string, query = ''): Promise<Outcome> {
  return kubectl(['replace', '--raw', pathOf(pod, 'unmount', query), '-f', '/dev/null']);
}

export async function deviceMount(name: string): Promise<DeviceMount | undefined> {
  return getJson<DeviceMount>(['devicemounts.device-mounter.io', name]);
}

/** Names of the slave pods that hold devices for `pod`. */
export async function slavesOf(pod: string): Promise<string[]> {
  const list = await getJson<PodList>([
    'pods',
    '-l',
    `${SLAVE_LABELS.managedBy}=device-mounter,${SLAVE_LABELS.ownerName}=${pod}`,
  ]);
  return (list?.items ?? []).map(({ metadata }) => metadata.name);
}

export async function slavesGone(pod: string): Promise<void> {
  await until(`the slave pods of ${pod} to be gone`, async () => (await slavesOf(pod)).length === 0);
}

/** What the pod's annotation says that it has. */
export async function annotatedDevices(pod: string): Promise<unknown> {
  const object = await getJson<{ metadata: { annotations?: Record<string, string> } }>(['pod', pod]);
  const text = object?.metadata.annotations?.[ANNOTATIONS.devices];
  return text === undefined ? undefined : (JSON.parse(text) as unknown);
}

/** Whether the kernel lets the container open `10:229`, by a node that the container makes itself: the rule alone decides. */
export async function ruleAllowsFuse(pod: string): Promise<boolean> {
  const { code, stderr } = await inPod(pod, 'rm -f /tmp/own; mknod /tmp/own c 10 229 && exec 3<>/tmp/own');
  if (code === 0) return true;
  if (stderr.includes('Operation not permitted')) return false;
  throw new Error(`Cannot tell whether ${pod} may open 10:229: ${stderr}`);
}

/** The pod has neither the node of `/dev/fuse` nor the right to open it. */
export async function expectNothingMounted(pod: string): Promise<void> {
  const { stdout } = await inPod(pod, 'test -e /dev/fuse && echo present || echo absent');
  if (stdout.trim() !== 'absent') throw new Error(`/dev/fuse is in ${pod}`);
  if (await ruleAllowsFuse(pod)) throw new Error(`${pod} may open 10:229`);
}
