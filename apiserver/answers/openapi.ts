import type { Schema } from '../../contract/device-mount-schema.ts';
import { DEVICE_TYPES } from '../../contract/device-types.ts';
import { API_GROUP, API_VERSION, GROUP_VERSION } from '../../contract/names.ts';
import { type Document, documentOf } from './discovery.ts';
import { gvk, NAMES, SCHEMAS } from './openapi-schemas.ts';

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query';
  readonly description: string;
  readonly type: 'string' | 'integer' | 'boolean';
  readonly required?: boolean;
  readonly enum?: readonly string[];
}

interface Operation {
  readonly path: string;
  readonly id: string;
  readonly description: string;
  readonly kind: string;
  readonly parameters: readonly Parameter[];
  readonly body?: string;
  readonly answers: Readonly<Record<number, string>>;
}

const query = (name: string, type: Parameter['type'], description: string): Parameter => ({
  name,
  in: 'query',
  type,
  description,
});
const inPath = (name: string, description: string): Parameter => ({
  name,
  in: 'path',
  type: 'string',
  description,
  required: true,
});
const NAMESPACE = inPath('namespace', 'Namespace of the object.');

const PUT_PARAMETERS: readonly Parameter[] = [
  NAMESPACE,
  inPath('name', 'Name of the target pod.'),
  { ...query('device_type', 'string', `One of ${Object.keys(DEVICE_TYPES).join(', ')}, in any case.`), required: true },
  query('container', 'string', 'Container of the pod; by default its default container.'),
  query('wait_second', 'integer', 'Seconds to wait; 0 answers at once. By default 10.'),
  { ...query('dryRun', 'string', 'All: nothing is changed.'), enum: ['All'] },
  query('timeout', 'string', 'How long the client waits, for example 30s; the answer comes 5 s earlier.'),
  query('pretty', 'string', 'true: with line breaks.'),
  query('fieldManager', 'string', 'Accepted, not used.'),
  {
    ...query('fieldValidation', 'string', 'What happens to unknown fields.'),
    enum: ['Ignore', 'Warn', 'Strict'],
  },
];

const ROOT = `/apis/${GROUP_VERSION}`;
const OPERATIONS: readonly Operation[] = [
  {
    path: `${ROOT}/namespaces/{namespace}/pods/{name}/mount`,
    id: 'mountNamespacedPodDevices',
    description: 'mount devices into a running pod',
    kind: 'DeviceMount',
    parameters: [...PUT_PARAMETERS, query('queue', 'boolean', 'Wait for a free device.')],
    body: NAMES.request,
    answers: { 200: NAMES.mount, 202: NAMES.mount },
  },
  {
    path: `${ROOT}/namespaces/{namespace}/pods/{name}/unmount`,
    id: 'unmountNamespacedPodDevices',
    description: 'unmount devices from a running pod',
    kind: 'DeviceUnmount',
    parameters: [
      ...PUT_PARAMETERS,
      query('mount', 'string', 'Only this mount.'),
      query('device', 'string', 'Only this device.'),
      query('force', 'string', '1 or true: end processes that use the devices.'),
    ],
    answers: { 200: NAMES.list, 202: NAMES.list },
  },
];

const INFO = { title: API_GROUP, version: API_VERSION };

/** A schema with its references as one version of OpenAPI writes them. */
function written(schema: Schema, refs: string): object {
  const { ref, properties, items, additionalProperties, ...rest } = schema;
  if (ref !== undefined) return { $ref: `${refs}${ref}` };
  return {
    ...rest,
    ...(items !== undefined && { items: written(items, refs) }),
    ...(additionalProperties !== undefined && { additionalProperties: written(additionalProperties, refs) }),
    ...(properties !== undefined && { properties: mapped(properties, (each) => written(each, refs)) }),
  };
}

function mapped<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

function operationsBy(write: (operation: Operation) => object): object {
  return Object.fromEntries(OPERATIONS.map((operation) => [operation.path, { put: write(operation) }]));
}

function commonOf({ id, description, kind }: Operation) {
  return {
    description,
    operationId: id,
    tags: ['deviceMounter_v1alpha1'],
    'x-kubernetes-action': 'put',
    'x-kubernetes-group-version-kind': gvk(kind),
  };
}

const V3_REFS = '#/components/schemas/';
const V2_REFS = '#/definitions/';
const JSON_TYPE = 'application/json';

const content = (name: string) => ({ [JSON_TYPE]: { schema: { $ref: `${V3_REFS}${name}` } } });
const definition = (name: string) => ({ $ref: `${V2_REFS}${name}` });

function v3(operation: Operation): object {
  return {
    ...commonOf(operation),
    parameters: operation.parameters.map(({ type, enum: values, ...parameter }) => ({
      ...parameter,
      schema: { type, ...(values !== undefined && { enum: values }) },
    })),
    ...(operation.body !== undefined && { requestBody: { content: content(operation.body) } }),
    responses: {
      ...mapped(operation.answers, (name) => ({ description: 'OK', content: content(name) })),
      default: { description: 'a failure', content: content(NAMES.status) },
    },
  };
}

function v2(operation: Operation): object {
  const body = operation.body === undefined ? [] : [{ name: 'body', in: 'body', schema: definition(operation.body) }];
  return {
    ...commonOf(operation),
    consumes: ['*/*'],
    produces: [JSON_TYPE],
    schemes: ['https'],
    parameters: [...operation.parameters, ...body],
    responses: {
      ...mapped(operation.answers, (name) => ({ description: 'OK', schema: definition(name) })),
      default: { description: 'a failure', schema: definition(NAMES.status) },
    },
  };
}

/** `/openapi/v3/apis/<group>/<version>`. */
export const OPENAPI_V3: Document = documentOf({
  openapi: '3.0.0',
  info: INFO,
  paths: operationsBy(v3),
  components: { schemas: mapped(SCHEMAS, (schema) => written(schema, V3_REFS)) },
});

/** `/openapi/v2`. */
export const OPENAPI_V2: Document = documentOf({
  swagger: '2.0',
  info: INFO,
  paths: operationsBy(v2),
  definitions: mapped(SCHEMAS, (schema) => written(schema, V2_REFS)),
});

export const OPENAPI_V3_HASH = OPENAPI_V3.etag.replaceAll('"', '');

/** `/openapi/v3`: where the document is, by its hash so that clients keep it. */
export const OPENAPI_V3_ROOT: Document = documentOf({
  paths: {
    [`apis/${GROUP_VERSION}`]: { serverRelativeURL: `/openapi/v3/apis/${GROUP_VERSION}?hash=${OPENAPI_V3_HASH}` },
  },
});
