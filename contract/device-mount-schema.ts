import type { ClaimReference } from './claims.ts';
import type { DeviceMount, DeviceNodeStatus, MountedDevice, MountWarning, SlaveRef } from './device-mount.ts';
import type { DeviceMountObjectStatus } from './device-mount-object.ts';
import { DEVICE_TYPES } from './device-types.ts';
import type { Condition } from './mount-conditions.ts';

/** A JSON schema as OpenAPI 2.0 and 3.0 and CustomResourceDefinitions have it; `ref` names another one and is for OpenAPI only. */
export interface Schema {
  readonly description?: string;
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly ref?: string;
  readonly 'x-kubernetes-group-version-kind'?: readonly object[];
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
}

type Properties = Readonly<Record<string, Schema>>;
/** A schema for each field of `T`, no more and no fewer. */
type FieldsOf<T> = Readonly<Record<keyof T, Schema>>;

export const text = (description: string, more: Partial<Schema> = {}): Schema => ({
  type: 'string',
  description,
  ...more,
});
export const map = (description: string): Schema => ({
  type: 'object',
  description,
  additionalProperties: { type: 'string' },
});
export const object = (description: string, properties: Properties, required: readonly string[] = []): Schema => ({
  type: 'object',
  description,
  properties,
  ...(required.length > 0 && { required }),
});
export const TIME = { format: 'date-time' } as const;

const integer = (description: string, minimum = 0): Schema => ({
  type: 'integer',
  format: 'int64',
  description,
  minimum,
});
const list = (description: string, items: Schema): Schema => ({
  type: 'array',
  description,
  items,
  'x-kubernetes-list-type': 'atomic',
});
const listBy = (key: string, description: string, items: Schema): Schema => ({
  type: 'array',
  description,
  items,
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': [key],
});

const NODE = object(
  'A device node in the container.',
  {
    path: text('Path in the container.'),
    type: text('Character (c) or block (b) device.', { enum: ['c', 'b'] }),
    major: integer('Major number.'),
    minor: integer('Minor number.'),
    access: text('What the container may do: read (r), write (w), make nodes (m).'),
  } satisfies FieldsOf<DeviceNodeStatus>,
  ['path'],
);

const DEVICE = object(
  'A device that the container can use.',
  {
    id: text('ID that the device plugin gives it; of a claimed device, its driver, pool and name.'),
    resource: text('Extended resource that it was allocated for, or resourceclaim: and the name of its claim.'),
    slave: text('Name of the slave pod that holds it.'),
    nodes: list('Its device nodes in the container.', NODE),
  } satisfies FieldsOf<MountedDevice>,
  ['id', 'resource', 'nodes'],
);

const SLAVE = object(
  'A pod that holds devices for the target pod.',
  {
    namespace: text('Namespace of the pod.'),
    name: text('Name of the pod.'),
    uid: text('UID of the pod.'),
  } satisfies FieldsOf<SlaveRef>,
  ['namespace', 'name', 'uid'],
);

const DEGRADED = object(
  'Set while the container lacks some of the devices; the node keeps trying to restore them.',
  { since: text('When this was noticed.', TIME), message: text('What is missing, and why.') },
  ['since', 'message'],
);

const WARNING = object(
  'Something to know of a mount that was made all the same.',
  {
    type: text('Type of the condition that shows it.', { maxLength: 316 }),
    message: text('What is wrong and what to do.', { maxLength: 32_768 }),
  } satisfies FieldsOf<MountWarning>,
  ['type', 'message'],
);

/** Claims of a mount, as in `spec.resourceClaims` of a pod. */
export const CLAIMS = listBy(
  'name',
  'Claims of dynamic resource allocation, whose devices are mounted.',
  object(
    'A claim that is there, or one that is made from a template.',
    {
      name: text('Unique in the mount: a DNS label.'),
      resourceClaimName: text('Name of a ResourceClaim in the namespace.'),
      resourceClaimTemplateName: text('Name of a ResourceClaimTemplate in the namespace.'),
    } satisfies FieldsOf<ClaimReference>,
    ['name'],
  ),
);

/** What every DeviceMount has in its spec. */
export const MOUNT_SPEC = object(
  'What was asked for.',
  {
    podName: text('Pod that uses the devices.'),
    podUid: text('UID of that pod: a new pod with the same name is another target.'),
    container: text('Container that uses the devices.'),
    deviceType: text('Type of the devices.', { enum: Object.keys(DEVICE_TYPES) }),
    resources: map('Extended resources and their quantities.'),
    claims: CLAIMS,
    onRestart: text('What happens when the container restarts.', { enum: ['reapply', 'release'] }),
    inject: text('Whether files of the node are mounted besides the devices. Absent: what the container lacks.', {
      enum: ['none', 'files'],
    }),
    split: { type: 'boolean', description: 'Whether each device has its own slave pod and can be unmounted alone.' },
    leaseSeconds: integer('The mount ends by itself after this many seconds, counted from the last renewal.', 1),
  } satisfies FieldsOf<DeviceMount['spec']>,
  ['podName', 'podUid', 'container', 'deviceType', 'resources', 'onRestart'],
);

const STATUS_PROPERTIES = {
  phase: text('State of the mount. Released and Failed are final.', {
    enum: ['Pending', 'Mounted', 'Releasing', 'Released', 'Failed'],
  }),
  user: text('User who asked for the mount.'),
  node: text('Node of the pod.'),
  devices: list('Devices that the container can use.', DEVICE),
  slaves: listBy('name', 'Pods that hold the devices.', SLAVE),
  reason: text('Why the mount failed or ended, in one word.'),
  message: text('The same in a sentence.'),
  mountedAt: text('When the container was given the devices.', TIME),
  leaseEndsAt: text('When the mount ends by itself.', TIME),
  degraded: DEGRADED,
  warnings: listBy('type', 'What the container lacks to make use of the devices.', WARNING),
} satisfies FieldsOf<DeviceMount['status']>;
const STATUS_REQUIRED = ['phase', 'user', 'devices', 'slaves'];

/** What every DeviceMount has in its status. */
export const MOUNT_STATUS = object('State of the mount.', STATUS_PROPERTIES, STATUS_REQUIRED);

/** With the limits of `metav1.Condition`. */
const CONDITION = object(
  'One aspect of the state.',
  {
    type: text(
      'Mounted: the container can use the devices. Degraded: it lacks some of them. DriverFilesMissing: it lacks files of the driver.',
      { maxLength: 316 },
    ),
    status: text('Whether it is so.', { enum: ['True', 'False'] }),
    reason: text('Why, in one word.', { maxLength: 1024, pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$' }),
    message: text('Why, in a sentence.', { maxLength: 32_768 }),
    lastTransitionTime: text('When the status of the condition last changed.', TIME),
    observedGeneration: integer('Generation of the object that the condition was set for.'),
  } satisfies FieldsOf<Condition>,
  ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
);

/** The status of a DeviceMount in kube-apiserver. */
export const OBJECT_STATUS = object(
  'State of the mount, as its workflow in Temporal knows it.',
  {
    ...STATUS_PROPERTIES,
    conditions: listBy('type', 'Aspects of the state that can be waited for.', CONDITION),
    summary: text('Devices in a few words; in parentheses what was asked for.'),
    mountUid: text(
      'UID of the mount, which its slave pods carry. It stays when this object is deleted and made again.',
    ),
    workflowId: text('ID of the workflow in Temporal that owns the mount.'),
    version: text('Version of the mount that is shown here: milliseconds since 1970.'),
    observedGeneration: integer('Generation of this object that was last written by device-mounter.'),
    confirmedAt: text('When the state was last known to be so.', TIME),
  } satisfies FieldsOf<DeviceMountObjectStatus>,
  [...STATUS_REQUIRED, 'conditions', 'summary', 'mountUid', 'workflowId', 'version', 'confirmedAt'],
);
