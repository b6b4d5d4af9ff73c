import { randomBytes } from 'node:crypto';
import type { DeviceMount } from '../../contract/device-mount.ts';
import {
  type DeviceMountObject,
  type DeviceMountObjectStatus,
  OBJECT_VERSION,
} from '../../contract/device-mount-object.ts';
import type { DeviceTypeName } from '../../contract/device-types.ts';
import { ANNOTATIONS, API_GROUP, SLAVE_LABELS } from '../../contract/names.ts';
import { hasCondition, type KubeAnswer } from '../../deploy/local/kube-api.ts';
import { inPod } from './exec.ts';
import { ask, find, listPath, remove, send } from './kube.ts';
import { NAMESPACE } from './lane.ts';
import { until } from './until.ts';

export const FUSE = 'hostdev.k8s.io/dev_fuse';
export const TUN = 'hostdev.k8s.io/dev_net_tun';
/** Of which a node has many. */
export const KMSG = 'hostdev.k8s.io/dev_kmsg';

/** Where pods are asked to mount and unmount. */
export const GROUP = '/apis/device-mounter.io/v1alpha1';

interface PodList {
  readonly items: readonly { readonly metadata: { readonly name: string; readonly uid: string } }[];
}

/** Where target pods are. */
export const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`;

export function podPath(name: string, namespace = NAMESPACE): string {
  return `/api/v1/namespaces/${namespace}/pods/${name}`;
}

/** The one container of target pods. */
export function busybox(command: readonly string[], more: object = {}): object {
  return { name: 'main', image: 'localhost/busybox:1', imagePullPolicy: 'Never', command, ...more };
}

/** Starts a busybox pod on `node`, waits until it is ready, and answers its name. */
export async function startPod(node: string, spec: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const name = `target-${randomBytes(4).toString('hex')}`;
  const nodeName = 'nodeName' in spec ? {} : { nodeName: node };
  await createPod(name, { ...nodeName, ...spec });
  return name;
}

/** Creates a pod that tolerates everything and ends at once, and waits until it is ready. */
export async function createPod(
  name: string,
  spec: Readonly<Record<string, unknown>>,
  namespace = NAMESPACE,
): Promise<void> {
  await ask('POST', `/api/v1/namespaces/${namespace}/pods`, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { 'e2e-test': 'target' } },
    spec: {
      terminationGracePeriodSeconds: 0,
      tolerations: [{ operator: 'Exists' }],
      containers: [busybox(['sleep', '100000'])],
      ...spec,
    },
  });
  await podReady(name, namespace);
}

export async function podReady(name: string, namespace = NAMESPACE): Promise<void> {
  await until(`pod ${name} to be ready`, async () => hasCondition(await find(podPath(name, namespace)), 'Ready'));
}

/** Deletes the pod and waits until it is gone. */
export async function deletePod(name: string): Promise<void> {
  await remove(podPath(name));
  await until(`pod ${name} to be gone`, async () => (await find(podPath(name))) === undefined);
}

/** As `kubectl drain` does it for each pod. */
export async function evictPod(name: string): Promise<void> {
  const metadata = { name, namespace: NAMESPACE };
  await ask('POST', `${podPath(name)}/eviction`, { apiVersion: 'policy/v1', kind: 'Eviction', metadata });
}

/** Of a request that says nothing of it: longer than the 10 s of the product, since a machine may be busy. */
const WAIT_SECONDS = 38;

/** Where devices of one type are mounted and unmounted. */
export const pathOf = (
  pod: string,
  verb: 'mount' | 'unmount',
  query: string,
  deviceType: DeviceTypeName = 'HOSTDEV',
): string => {
  const wait = query.includes('&wait_second=') ? '' : `&wait_second=${WAIT_SECONDS}`;
  return `${GROUP}/namespaces/${NAMESPACE}/pods/${pod}/${verb}?device_type=${deviceType}${query}${wait}`;
};

/** PUT of a mount of one `resource`. */
export function mount(pod: string, resource: string, query = '', body: object = {}): Promise<KubeAnswer> {
  return send('PUT', pathOf(pod, 'mount', query), { resources: { [resource]: '1' }, ...body });
}

/** Answers the DeviceMount once it is mounted and its object shows that, which is a moment later; or accepted with `wait_second=0`. */
export async function mountOk(pod: string, resource: string, query = '', body: object = {}): Promise<DeviceMount> {
  const path = pathOf(pod, 'mount', query);
  const mount = await ask<DeviceMount>('PUT', path, { resources: { [resource]: '1' }, ...body });
  if (mount.status.phase !== 'Mounted') return mount;
  const { name } = mount.metadata;
  await until(`${name} to be shown`, async () => ((await deviceMount(name))?.status.phase ?? 'Pending') !== 'Pending');
  return mount;
}

export function unmount(pod: string, query = ''): Promise<KubeAnswer> {
  return send('PUT', pathOf(pod, 'unmount', query));
}

/** Where DeviceMounts are read. */
export function mountsPath(namespace = NAMESPACE): string {
  return `/apis/${API_GROUP}/${OBJECT_VERSION}/namespaces/${namespace}/devicemounts`;
}

export type ShownMount = DeviceMountObject & { readonly status: DeviceMountObjectStatus };

/** The object as its reader sees it, or `undefined` as long as it says nothing of the mount. */
export function shown(object: DeviceMountObject | undefined): ShownMount | undefined {
  const status = object?.status;
  return object && status && { ...object, status };
}

/** What kube-apiserver shows of a mount, some milliseconds after its workflow has changed. */
export async function deviceMount(name: string): Promise<ShownMount | undefined> {
  return shown(await find<DeviceMountObject>(`${mountsPath()}/${name}`));
}

/** Names of the slave pods that hold devices for `pod`. */
export async function slavesOf(pod: string): Promise<string[]> {
  const labelSelector = `${SLAVE_LABELS.managedBy}=device-mounter,${SLAVE_LABELS.ownerName}=${pod}`;
  const { items } = await ask<PodList>('GET', listPath(NAMESPACE, 'pods', { labelSelector }));
  return items.map(({ metadata }) => metadata.name);
}

export async function slavesGone(pod: string): Promise<void> {
  await until(`the slave pods of ${pod} to be gone`, async () => (await slavesOf(pod)).length === 0);
}

/** Messages of the Events with this reason on a pod. */
export async function eventsOf(podUid: string, reason: string): Promise<string[]> {
  const fieldSelector = `involvedObject.uid=${podUid},reason=${reason}`;
  const { items } = await ask<{ items: { message: string }[] }>(
    'GET',
    listPath(NAMESPACE, 'events', { fieldSelector }),
  );
  return items.map(({ message }) => message);
}

/** What the pod's annotation says that it has. */
export async function annotatedDevices(pod: string): Promise<unknown> {
  const object = await find<{ metadata: { annotations?: Record<string, string> } }>(podPath(pod));
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
