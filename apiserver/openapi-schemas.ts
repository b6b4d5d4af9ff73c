import { MOUNT_SPEC, MOUNT_STATUS, map, object, type Schema, TIME, text } from '../contract/device-mount-schema.ts';
import { API_GROUP, API_VERSION } from '../contract/names.ts';

const OWN = 'io.device-mounter.v1alpha1';
const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
export const NAMES = {
  mount: `${OWN}.DeviceMount`,
  list: `${OWN}.DeviceMountList`,
  request: `${OWN}.DeviceMountRequest`,
  status: `${META}.Status`,
} as const;

export const gvk = (kind: string) => ({ group: API_GROUP, kind, version: API_VERSION });
const listOf = (name: string, description: string): Schema => ({ type: 'array', description, items: { ref: name } });
const refTo = (name: string): Schema => ({ ref: name });

const TYPE = {
  apiVersion: text('Version of this representation of the object.'),
  kind: text('REST resource that this object represents.'),
};

const OWN_SCHEMAS: Readonly<Record<string, Schema>> = {
  [NAMES.mount]: {
    ...object('Devices that were mounted, or are to be, into a running container.', {
      ...TYPE,
      metadata: refTo(`${META}.ObjectMeta`),
      spec: refTo(`${OWN}.DeviceMountSpec`),
      status: refTo(`${OWN}.DeviceMountStatus`),
    }),
    'x-kubernetes-group-version-kind': [gvk('DeviceMount')],
  },
  [NAMES.list]: {
    ...object(
      'A list of mounts.',
      { ...TYPE, metadata: refTo(`${META}.ListMeta`), items: listOf(NAMES.mount, 'The mounts.') },
      ['items'],
    ),
    'x-kubernetes-group-version-kind': [gvk('DeviceMountList')],
  },
  [`${OWN}.DeviceMountSpec`]: MOUNT_SPEC,
  [`${OWN}.DeviceMountStatus`]: MOUNT_STATUS,
  [NAMES.request]: object('What to mount.', {
    ...TYPE,
    metadata: { type: 'object', description: 'Not used.' },
    resources: {
      type: 'object',
      description: 'Extended resources and their quantities, whole numbers from 1.',
      additionalProperties: { 'x-kubernetes-preserve-unknown-fields': true },
    },
    labels: map('Labels of the pod that holds the devices.'),
    annotations: map('Annotations of the pod that holds the devices.'),
    patches: {
      type: 'array',
      description: 'Operations of RFC 6902 on the pod that holds the devices, each an object or its JSON as a string.',
      items: { 'x-kubernetes-preserve-unknown-fields': true },
    },
    name: text('Name of the DeviceMount; by default that of the pod and five letters.'),
    leaseSeconds: { type: 'integer', minimum: 1, description: 'The mount ends by itself after so many seconds.' },
    onRestart: text('What happens when the container restarts.', { enum: ['reapply', 'release'] }),
    split: {
      type: 'boolean',
      description: 'A pod for each device, so that each can be unmounted, and is free for others, by itself.',
    },
    idempotencyKey: text('Requests with the same key make one mount.'),
  }),
};

const META_SCHEMAS: Readonly<Record<string, Schema>> = {
  [`${META}.ObjectMeta`]: object('Metadata that every object has.', {
    name: text('Unique within a namespace.'),
    namespace: text('Namespace of the object.'),
    uid: text('Unique in time and space.'),
    resourceVersion: text('Changes with every change of the object.'),
    creationTimestamp: text('When it was asked for.', TIME),
    labels: map('Labels to select by.'),
    annotations: map('Annotations.'),
  }),
  [`${META}.ListMeta`]: object('Metadata that every list has.', {
    resourceVersion: text('Where a watch can begin.'),
    continue: text('Token for the next page.'),
    remainingItemCount: { type: 'integer', format: 'int64', description: 'How many more there are.' },
  }),
  [NAMES.status]: {
    ...object('The answer to a request that failed.', {
      ...TYPE,
      metadata: refTo(`${META}.ListMeta`),
      status: text('Failure.'),
      message: text('What went wrong.'),
      reason: text('The same in one word.'),
      details: refTo(`${META}.StatusDetails`),
      code: { type: 'integer', format: 'int32', description: 'HTTP status code.' },
    }),
    'x-kubernetes-group-version-kind': [{ group: '', kind: 'Status', version: 'v1' }],
  },
  [`${META}.StatusDetails`]: object('More about a failure.', {
    name: text('Name of the object.'),
    group: text('Its group.'),
    kind: text('Its kind.'),
    uid: text('Its uid.'),
    causes: listOf(`${META}.StatusCause`, 'Each single problem.'),
    retryAfterSeconds: { type: 'integer', format: 'int32', description: 'When to try again.' },
  }),
  [`${META}.StatusCause`]: object('One problem.', {
    reason: text('In one word.'),
    message: text('In a sentence.'),
    field: text('Field of the request.'),
  }),
};

/** All schemas of the API by the name that Kubernetes would give them. */
export const SCHEMAS: Readonly<Record<string, Schema>> = { ...OWN_SCHEMAS, ...META_SCHEMAS };
