import { createHash } from 'node:crypto';
import { API_GROUP, API_VERSION, GROUP_VERSION } from '../contract/names.ts';
import { acceptedRanges } from './negotiation.ts';

/**
 * What the pods of this version have; DeviceMounts are in another, which kube-apiserver serves. `pods` is no resource of its own: the
 * namespace controller and the garbage collector would wait for us before they end any namespace.
 */
const SUBRESOURCES = [
  { subresource: 'mount', kind: 'DeviceMount', verbs: ['update'] },
  { subresource: 'unmount', kind: 'DeviceUnmount', verbs: ['update'] },
] as const;

const GROUP = {
  name: API_GROUP,
  versions: [{ groupVersion: GROUP_VERSION, version: API_VERSION }],
  preferredVersion: { groupVersion: GROUP_VERSION, version: API_VERSION },
};

/** `apidiscovery.k8s.io` (KEP-3352). */
const AGGREGATED_PODS = {
  // Only the parent of its subresources: client-go drops a resource with an empty kind and keeps those.
  resource: 'pods',
  responseKind: { group: '', version: '', kind: '' },
  scope: 'Namespaced',
  singularResource: '',
  verbs: [],
  subresources: SUBRESOURCES.map(({ subresource, kind, verbs }) => ({
    subresource,
    responseKind: { group: API_GROUP, version: API_VERSION, kind },
    verbs,
  })),
};

function aggregated(version: string) {
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: [
      {
        metadata: { name: API_GROUP },
        versions: [{ version: API_VERSION, freshness: 'Current', resources: [AGGREGATED_PODS] }],
      },
    ],
  };
}

/** A document that is served from memory. */
export interface Document {
  readonly contentType: string;
  readonly body: string;
  /** With its quotes, as the header has it. */
  readonly etag: string;
}

export function documentOf(value: unknown, contentType = 'application/json'): Document {
  const body = JSON.stringify(value);
  return { contentType, body, etag: `"${createHash('sha512').update(body).digest('hex').toUpperCase()}"` };
}

const aggregatedType = (version: string) =>
  `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
const AGGREGATED = {
  v2: documentOf(aggregated('v2'), aggregatedType('v2')),
  v2beta1: documentOf(aggregated('v2beta1'), aggregatedType('v2beta1')),
};
const GROUP_LIST = documentOf({ kind: 'APIGroupList', apiVersion: 'v1', groups: [GROUP] });

/** `/apis`: aggregated discovery in the first version that the client accepts, else the list of groups. */
export function groupsDocument(accept: string | undefined): Document {
  for (const { type, parameters } of acceptedRanges(accept)) {
    if (type !== 'application/json' || parameters['as'] !== 'APIGroupDiscoveryList') continue;
    const version = parameters['v'];
    if (parameters['g'] === 'apidiscovery.k8s.io' && (version === 'v2' || version === 'v2beta1'))
      return AGGREGATED[version];
  }
  return GROUP_LIST;
}

/** `/apis/<group>`. */
export const GROUP_DOCUMENT = documentOf({ kind: 'APIGroup', apiVersion: 'v1', ...GROUP });

/** `/apis/<group>/<version>`. */
export const RESOURCES_DOCUMENT = documentOf({
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion: GROUP_VERSION,
  resources: SUBRESOURCES.map(({ subresource, kind, verbs }) => ({
    name: `pods/${subresource}`,
    singularName: '',
    namespaced: true,
    group: API_GROUP,
    version: API_VERSION,
    kind,
    verbs,
  })),
});
