import {
  CLAIMS,
  MOUNT_SPEC,
  MOUNT_STATUS,
  map,
  object,
  type Schema,
  TIME,
  text,
} from '../../contract/device-mount-schema.ts';
import { API_GROUP, API_VERSION } from '../../contract/names.ts';

const OWN = 'io.device-mounter.v1alpha1';
/** Names of ours alone: what kube-apiserver has by the same name in its own document would become another. */
export const NAMES = {
  mount: `${OWN}.DeviceMount`,
  list: `${OWN}.DeviceMountList`,
  request: `${OWN}.DeviceMountRequest`,
  status: `${OWN}.Status`,
} as const;

export const gvk = (kind: string) => ({ group: API_GROUP, kind, version: API_VERSION });
const listOf = (name: string, description: string): Schema => ({ type: 'array', description, items: { ref: name } });
const refTo = (name: string): Schema => ({ ref: name });

const TYPE = {
  apiVersion: text('Version of this representation of the object.'),
  kind: text('REST resource that this object represents.'),
};

/** Written out where they are used, so that they need no names. */
const META = {
  object: object('Metadata of the object.', {
    name: text('Unique within a namespace.'),
    namespace: text('Namespace of the object.'),
    uid: text('Unique in time and space.'),
    resourceVersion: text('Changes with every change of the object.'),
    creationTimestamp: text('When it was asked for.', TIME),
    labels: map('Labels to select by.'),
  }),
  list: object('Metadata of the list.', { resourceVersion: text('Where a watch can begin.') }),
};

/** All schemas of the API by name. */
export const SCHEMAS: Readonly<Record<string, Schema>> = {
  [NAMES.mount]: {
    ...object('Devices that were mounted, or are to be, into a running container.', {
      ...TYPE,
      metadata: META.object,
      spec: refTo(`${OWN}.DeviceMountSpec`),
      status: refTo(`${OWN}.DeviceMountStatus`),
    }),
    'x-kubernetes-group-version-kind': [gvk('DeviceMount')],
  },
  [NAMES.list]: {
    ...object('A list of mounts.', { ...TYPE, metadata: META.list, items: listOf(NAMES.mount, 'The mounts.') }, [
      'items',
    ]),
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
    claims: CLAIMS,
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
    inject: text('Whether files of the node, such as driver libraries, are mounted in the container, too.', {
      enum: ['auto', 'none', 'files'],
    }),
    split: {
      type: 'boolean',
      description: 'A pod for each device, so that each can be unmounted, and is free for others, by itself.',
    },
    idempotencyKey: text('Requests with the same key make one mount.'),
  }),
  [NAMES.status]: object('The answer to a request that failed.', {
    ...TYPE,
    metadata: object('Empty.', {}),
    status: text('Failure.'),
    message: text('What went wrong.'),
    reason: text('The same in one word.'),
    details: object('More about a failure.', {
      name: text('Name of the object.'),
      group: text('Its group.'),
      kind: text('Its kind.'),
      causes: listOf(`${OWN}.StatusCause`, 'Each single problem.'),
      retryAfterSeconds: { type: 'integer', format: 'int32', description: 'When to try again.' },
    }),
    code: { type: 'integer', format: 'int32', description: 'HTTP status code.' },
  }),
  [`${OWN}.StatusCause`]: object('One problem.', {
    reason: text('In one word.'),
    message: text('In a sentence.'),
    field: text('Field of the request.'),
  }),
};
