import type { V1Affinity, V1Container, V1Pod, V1PodSpec, V1Toleration } from '@kubernetes/client-node';
import jsonPatch from 'fast-json-patch';
import type { DeviceMount, SlaveRef } from '../contract/device-mount.ts';
import { DEVICE_TYPES } from '../contract/device-types.ts';
import { fail } from '../contract/failures.ts';
import { ANNOTATIONS, MANAGER, SLAVE_LABELS, slaveName } from '../contract/names.ts';
import { type MountRequest, type Signed, sharesOf, type Target } from '../contract/requests.ts';
import { holdingContainer, type SlaveSettings } from './slave-settings.ts';

/** Selects every slave pod, those of the original device-mounter too. */
export const SLAVE_SELECTOR = `${SLAVE_LABELS.component}=${MANAGER},${SLAVE_LABELS.managedBy}=${MANAGER}`;

/** Taints of a node that is full or cordoned: the target runs there already, and the slave uses next to nothing. */
const TOLERATED = ['unschedulable', 'network-unavailable', 'memory-pressure', 'disk-pressure', 'pid-pressure'];

/** Opt-outs of the known sidecar injectors: a sidecar would take resources and keep an ended slave alive. */
const NO_SIDECARS = {
  labels: { 'sidecar.istio.io/inject': 'false' },
  annotations: {
    'sidecar.istio.io/inject': 'false',
    'linkerd.io/inject': 'disabled',
    'kuma.io/sidecar-injection': 'disabled',
    'consul.hashicorp.com/connect-inject': 'false',
  },
} as const;

/** The client's types are classes, its values are plain objects. */
type Plain<T> = { [Key in keyof T]: T[Key] };
type Base = Omit<Plain<V1Pod>, 'spec'> & { readonly spec: Plain<V1PodSpec> };

export interface SlaveOptions {
  /** First run id of the owning workflow: kept over retry, reset and continue-as-new. */
  readonly mountUid: string;
  /** Of the mount's slaves, from 0. */
  readonly index: number;
  readonly node: string;
  readonly settings: SlaveSettings;
}

/**
 * The placeholder pod that gets its share of the devices of `request` on the target's node.
 * @throws Invalid when a patch does not fit, BadRequest for an index that the request has no share for
 */
export function slavePod(signed: Signed<MountRequest>, target: V1Pod, options: SlaveOptions): V1Pod {
  const { request } = signed;
  const base = basePod(request, target, options);
  const pod: Plain<V1Pod> = patched(structuredClone(base), request);
  return {
    ...pod,
    metadata: {
      name: slaveName(request.target.pod, options.mountUid, options.index),
      namespace: request.target.namespace,
      labels: { ...pod.metadata?.labels, ...NO_SIDECARS.labels, ...slaveLabels(request) },
      annotations: { ...pod.metadata?.annotations, ...NO_SIDECARS.annotations, ...slaveAnnotations(signed, options) },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Pod',
          name: request.target.pod,
          uid: request.target.podUid,
          // Volcano counts pods by their controller and would take the slave for a member of the target's group.
          controller: pod.spec?.schedulerName !== 'volcano',
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: shaped(base, pod),
  };
}

/**
 * `base` with only that of `patched` which may shape a slave. The apiserver has checked the patches; a gap there must not
 * become a pod of the user's making with our rights.
 */
function shaped(base: Base, patched: Plain<V1Pod>): V1PodSpec {
  const { schedulerName, priorityClassName, tolerations, runtimeClassName, containers } = patched.spec ?? base.spec;
  return {
    ...base.spec,
    ...(schedulerName !== undefined && { schedulerName }),
    ...(priorityClassName !== undefined && { priorityClassName }),
    ...(tolerations !== undefined && { tolerations }),
    ...(runtimeClassName !== undefined && { runtimeClassName }),
    containers: base.spec.containers.map((container: Plain<V1Container>, index) => ({
      ...container,
      ...(containers[index]?.resources !== undefined && { resources: containers[index].resources }),
    })),
  };
}

function basePod(request: MountRequest, target: V1Pod, { settings, node, index }: SlaveOptions): Base {
  const spec = target.spec;
  const share = shareOf(request, index);
  const schedulerName = schedulerOf(request) ?? spec?.schedulerName;
  const claims = request.claims?.map((claim) => ({ ...claim }));
  const resources = {
    requests: { ...settings.requests, ...share },
    limits: { ...settings.limits, ...share },
    ...(claims && { claims: claims.map(({ name }) => ({ name })) }),
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { labels: { ...request.labels }, annotations: { ...request.annotations } },
    spec: {
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      dnsPolicy: 'Default',
      restartPolicy: 'Always',
      // Nobody sets it, so that the slave is never Ready: labels that a Service selects make it no endpoint.
      readinessGates: [{ conditionType: 'device-mounter.io/never' }],
      affinity: pinnedTo(node),
      terminationGracePeriodSeconds: settings.graceSeconds,
      ...(settings.pullSecrets.length > 0 && { imagePullSecrets: settings.pullSecrets.map((name) => ({ name })) }),
      ...(claims && { resourceClaims: claims }),
      ...(schedulerName !== undefined && { schedulerName }),
      ...(isSeenInSlave(share) && spec?.runtimeClassName !== undefined && { runtimeClassName: spec.runtimeClassName }),
      ...(spec?.priorityClassName !== undefined && { priorityClassName: spec.priorityClassName }),
      tolerations: [...(spec?.tolerations ?? []), ...TOLERATED.map(tolerationOf)],
      securityContext: { runAsNonRoot: true, runAsUser: 65_535, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'slave',
          image: settings.image,
          imagePullPolicy: 'IfNotPresent',
          resources,
          ...holdingContainer(settings),
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        },
      ],
    },
  };
}

/**
 * The nodes of MIG devices and NPUs are known from the slave, to which only the vendor's runtime gives them: the target's, if it
 * names one.
 */
const isSeenInSlave = (share: MountRequest['resources']): boolean =>
  Object.keys(share).some((resource) => /^(nvidia\.com\/mig-|huawei\.com\/)/.test(resource));

/** The one that a device type needs. */
function schedulerOf({ deviceType }: MountRequest): string | undefined {
  const type = DEVICE_TYPES[deviceType];
  return 'schedulerName' in type ? type.schedulerName : undefined;
}

function shareOf(request: MountRequest, index: number): MountRequest['resources'] {
  const shares = sharesOf(request);
  const share = shares[index];
  if (share !== undefined) return share;
  const rule = `its index must be below ${shares.length}, is ${index}`;
  throw fail('BadRequest', `Cannot make a slave pod for mount "${request.name}": ${rule}`);
}

function tolerationOf(taint: string): V1Toleration {
  return { key: `node.kubernetes.io/${taint}`, operator: 'Exists', effect: 'NoSchedule' };
}

/** By the node's name: its `kubernetes.io/hostname` may be another. The scheduler still counts and allocates. */
export function refOf({ metadata }: V1Pod): SlaveRef {
  return { namespace: metadata?.namespace ?? '', name: metadata?.name ?? '', uid: metadata?.uid ?? '' };
}

export function pinnedNodeOf({ spec }: V1Pod): string | undefined {
  const terms = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  return terms?.[0]?.matchFields?.[0]?.values?.[0];
}

function pinnedTo(node: string): V1Affinity {
  const term = { matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] };
  return { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } } };
}

function patched(pod: V1Pod, request: MountRequest): V1Pod {
  for (const [index, operation] of request.patches.entries()) {
    try {
      // The library's type of an operation has no optional value.
      jsonPatch.applyPatch(pod, [operation as jsonPatch.Operation], true, true);
    } catch (err) {
      const message = err instanceof Error ? (err.message.split('\n', 1)[0] ?? '') : String(err);
      const field = `body.patches[${index}]`;
      throw fail('Invalid', `Cannot apply ${field} to the slave pod: ${message}`, err, [
        { reason: 'FieldValueInvalid', message, field },
      ]);
    }
  }
  return pod;
}

function slaveLabels(request: MountRequest): Record<string, string> {
  return {
    [SLAVE_LABELS.component]: MANAGER,
    [SLAVE_LABELS.managedBy]: MANAGER,
    [SLAVE_LABELS.ownerName]: labelValue(request.target.pod),
    [SLAVE_LABELS.ownerUid]: request.target.podUid,
    [SLAVE_LABELS.container]: request.target.container,
    [SLAVE_LABELS.mount]: labelValue(request.name),
  };
}

function slaveAnnotations(signed: Signed<MountRequest>, { mountUid }: SlaveOptions): Record<string, string> {
  const { request } = signed;
  return {
    [ANNOTATIONS.mountUid]: mountUid,
    [ANNOTATIONS.request]: JSON.stringify(signed),
    [ANNOTATIONS.deviceType]: request.deviceType,
    [ANNOTATIONS.mount]: request.name,
    [ANNOTATIONS.user]: request.user.name,
  };
}

/** The longest beginning that is a valid label value, which a name of up to 253 characters need not be. */
function labelValue(name: string): string {
  return name.slice(0, 63).replace(/(?<![^a-zA-Z0-9])[^a-zA-Z0-9]+$/, '');
}

/** Whether `pod` belongs to the pod with `targetUid`. Labels can be written by tenants; this the garbage collector acts on. */
export function isOwnedBy(pod: V1Pod, targetUid: string): boolean {
  return (pod.metadata?.ownerReferences ?? []).some((owner) => owner.kind === 'Pod' && owner.uid === targetUid);
}

/** The mount that a slave was made for, in full, if it was made by us. */
export function mountNameOf(pod: V1Pod): string | undefined {
  return pod.metadata?.annotations?.[ANNOTATIONS.mount];
}

/** Whether `pod` is a slave of ours or of the original device-mounter, as far as labels can tell. */
export function hasSlaveLabels({ metadata }: V1Pod): boolean {
  const labels = metadata?.labels ?? {};
  return labels[SLAVE_LABELS.component] === MANAGER && labels[SLAVE_LABELS.managedBy] === MANAGER;
}

/** Whether the mount with `mountUid` has made `pod`: its name is derived from that. */
export function isMadeBy(pod: V1Pod, mountUid: string): boolean {
  const name = pod.metadata?.name ?? '';
  const index = Number(/-(\d+)$/.exec(name)?.[1]);
  const target = targetOf(pod);
  return target !== undefined && name === slaveName(target.pod, mountUid, index);
}

/** Whether the open mount of its name does not need `pod`: another made it, or its devices were given back by themselves. */
export function isLeftBehind(pod: V1Pod, { metadata, status }: DeviceMount): boolean {
  if (metadata.uid !== '' && !isMadeBy(pod, metadata.uid)) return true;
  return status.phase === 'Mounted' && !status.slaves.some(({ uid }) => uid === pod.metadata?.uid);
}

/** The target that a slave was made for, by what the garbage collector acts on. */
export function targetOf({ metadata }: V1Pod): Target | undefined {
  const owner = metadata?.ownerReferences?.find(({ kind }) => kind === 'Pod');
  if (owner === undefined || metadata?.namespace === undefined) return undefined;
  const container = metadata.labels?.[SLAVE_LABELS.container] ?? '';
  return { namespace: metadata.namespace, pod: owner.name, podUid: owner.uid, container };
}

/** What became of a slave that has ended or is ending, for people; `undefined` for one that lives. */
export function slaveEnd(pod: V1Pod | undefined): string | undefined {
  if (pod === undefined) return 'it was deleted';
  const { phase, reason, message } = pod.status ?? {};
  // The words of whoever ended it, such as the kubelet, say more than the deletion that follows.
  if (phase === 'Failed' || phase === 'Succeeded')
    return `it has ended, ${[reason, message].filter(Boolean).join(': ') || phase}`;
  return pod.metadata?.deletionTimestamp === undefined ? undefined : 'it is being deleted';
}
