import { dump } from 'js-yaml';
import { OBJECT_VERSION } from '../contract/device-mount-object.ts';
import { MOUNT_SPEC, OBJECT_STATUS, object } from '../contract/device-mount-schema.ts';
import { API_GROUP } from '../contract/names.ts';

interface Column {
  readonly name: string;
  readonly type: 'string' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  /** 1: only with `-o wide`. */
  readonly priority?: 1;
}

const COLUMNS: readonly Column[] = [
  { name: 'Phase', type: 'string', jsonPath: '.status.phase', description: 'State of the mount.' },
  { name: 'Pod', type: 'string', jsonPath: '.spec.podName', description: 'Pod that uses the devices.' },
  { name: 'Container', type: 'string', jsonPath: '.spec.container', description: 'Container that uses the devices.' },
  { name: 'Type', type: 'string', jsonPath: '.spec.deviceType', description: 'Type of the devices.' },
  {
    name: 'Devices',
    type: 'string',
    jsonPath: '.status.summary',
    description: 'Devices; in parentheses what was asked for.',
  },
  { name: 'Node', type: 'string', jsonPath: '.status.node', description: 'Node of the pod.' },
  // A string: as a date kubectl would print the time since then, and this is in the future.
  { name: 'Lease', type: 'string', jsonPath: '.status.leaseEndsAt', description: 'When the mount ends by itself.' },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: 'Time since it was asked for.' },
  { name: 'User', type: 'string', jsonPath: '.status.user', description: 'User who asked for the mount.', priority: 1 },
  {
    name: 'Reason',
    type: 'string',
    jsonPath: '.status.reason',
    description: 'Why it failed or ended, in one word.',
    priority: 1,
  },
  {
    name: 'Message',
    type: 'string',
    jsonPath: '.status.message',
    description: 'The same in a sentence.',
    priority: 1,
  },
];

const SELECTABLE = ['.spec.podName', '.spec.podUid', '.spec.deviceType', '.status.phase', '.status.node'];

const NAMES = {
  kind: 'DeviceMount',
  listKind: 'DeviceMountList',
  plural: 'devicemounts',
  singular: 'devicemount',
  shortNames: ['dmount'],
};

/** Kubernetes 1.31 has field selectors for custom resources. An older one would refuse or drop them. */
const SELECTABLE_SINCE = '1.31.0-0';

function version(): object {
  const schema = object(
    'Devices mounted into a running container. It shows what device-mounter does and is written by it alone: changes and deletions have no effect.',
    {
      apiVersion: { type: 'string', description: 'Version of this representation of the object.' },
      kind: { type: 'string', description: 'REST resource that this object represents.' },
      metadata: { type: 'object' },
      spec: MOUNT_SPEC,
      status: OBJECT_STATUS,
    },
    ['spec'],
  );
  return {
    name: OBJECT_VERSION,
    served: true,
    storage: true,
    subresources: { status: {} },
    additionalPrinterColumns: COLUMNS,
    schema: { openAPIV3Schema: schema },
  };
}

const yamlOf = (value: object): string => dump(value, { lineWidth: -1, noRefs: true });
const indented = (text: string, by: number): string => text.replace(/^/gm, ' '.repeat(by)).trimEnd();

/** The chart's template of the CustomResourceDefinition of DeviceMounts. */
export function crdTemplate(): string {
  const selectable = yamlOf({ selectableFields: SELECTABLE.map((jsonPath) => ({ jsonPath })) });
  return `{{- if .Values.crd.install }}
# DeviceMounts in kube-apiserver. Generated from contract/ by \`npm run render\`.
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: ${NAMES.plural}.${API_GROUP}
  {{- if .Values.crd.keep }}
  annotations: { helm.sh/resource-policy: keep }
  {{- end }}
spec:
${indented(yamlOf({ group: API_GROUP, names: NAMES, scope: 'Namespaced' }), 2)}
  versions:
${indented(yamlOf([version()]), 4)}
      {{- if semverCompare ">=${SELECTABLE_SINCE}" .Capabilities.KubeVersion.Version }}
${indented(selectable, 6)}
      {{- end }}
{{- end }}
`;
}
