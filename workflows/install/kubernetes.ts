import {
  ApiException,
  ApiregistrationV1Api,
  CoreV1Api,
  DiscoveryV1Api,
  type KubeConfig,
  type KubernetesObject,
  RbacAuthorizationV1Api,
  type V1APIService,
  type V1ConfigMap,
  type V1Namespace,
  type V1Secret,
} from '@kubernetes/client-node';
import { apiClient } from '../../process/kubernetes.ts';
import { objectChanged } from '../../process/object-changed.ts';

/** An object that every replica of the control worker may write. */
export interface SharedObject<T> {
  readonly name: string;
  get(): Promise<T | undefined>;
  /** Creates `object`, or replaces the one that it was read as. Answers false when another replica was faster: read again then. */
  write(object: T): Promise<boolean>;
}

/** Where a Service is reached. */
export interface ServiceAddress {
  readonly host: string;
  readonly port: number;
}

/** What is read and written in the cluster to keep device-mounter installed. Everything is in one namespace, unless it is in none. */
export interface InstallObjects {
  readonly namespace: string;
  secret(name: string): SharedObject<V1Secret>;
  configMap(name: string): SharedObject<V1ConfigMap>;
  apiService(name: string): SharedObject<V1APIService>;
  /** Deletes it if it still is the one with this UID. */
  deleteApiService(name: string, uid: string): Promise<void>;
  getNamespace(): Promise<V1Namespace | undefined>;
  /** Resolves when the namespace may have changed since `resourceVersion`, a minute later at the latest. */
  namespaceChanged(resourceVersion: string, signal: AbortSignal): Promise<void>;
  /** UID of a ClusterRole. Undefined when there is none, or it is being deleted. */
  clusterRoleUid(name: string): Promise<string | undefined>;
  serviceAddress(name: string): Promise<ServiceAddress | undefined>;
  /** Whether a pod behind the Service is ready. */
  hasReadyEndpoint(service: string): Promise<boolean>;
}

/** Those of the cluster of `config`. A call ends after `callMs`, if given. */
export function installObjects(config: KubeConfig, namespace: string, callMs?: number): InstallObjects {
  const core = apiClient(config, CoreV1Api, callMs);
  const registration = apiClient(config, ApiregistrationV1Api, callMs);
  const discovery = apiClient(config, DiscoveryV1Api, callMs);
  const rbac = apiClient(config, RbacAuthorizationV1Api, callMs);
  return {
    namespace,
    secret: (name) =>
      shared<V1Secret>(name, {
        read: () => core.readNamespacedSecret({ namespace, name }),
        create: (body) => core.createNamespacedSecret({ namespace, body }),
        replace: (body) => core.replaceNamespacedSecret({ namespace, name, body }),
      }),
    configMap: (name) =>
      shared<V1ConfigMap>(name, {
        read: () => core.readNamespacedConfigMap({ namespace, name }),
        create: (body) => core.createNamespacedConfigMap({ namespace, body }),
        replace: (body) => core.replaceNamespacedConfigMap({ namespace, name, body }),
      }),
    apiService: (name) =>
      shared<V1APIService>(name, {
        read: () => registration.readAPIService({ name }),
        create: (body) => registration.createAPIService({ body }),
        replace: (body) => registration.replaceAPIService({ name, body }),
      }),
    async deleteApiService(name, uid) {
      await unless([404, 409], registration.deleteAPIService({ name, body: { preconditions: { uid } } }));
    },
    getNamespace: () => unless([404], core.readNamespace({ name: namespace })),
    namespaceChanged: (resourceVersion, signal) =>
      objectChanged(config, '/api/v1/namespaces', namespace, resourceVersion, signal),
    async clusterRoleUid(name) {
      const role = await unless([404], rbac.readClusterRole({ name }));
      return role?.metadata?.deletionTimestamp === undefined ? role?.metadata?.uid : undefined;
    },
    async serviceAddress(name) {
      const spec = (await unless([404], core.readNamespacedService({ namespace, name })))?.spec;
      const port = spec?.ports?.[0]?.port;
      return spec?.clusterIP === undefined || port === undefined ? undefined : { host: spec.clusterIP, port };
    },
    async hasReadyEndpoint(service) {
      const labelSelector = `kubernetes.io/service-name=${service}`;
      const { items } = await discovery.listNamespacedEndpointSlice({ namespace, labelSelector });
      // A missing condition is to be taken for true.
      return items.some(({ endpoints }) => endpoints?.some(({ conditions }) => conditions?.ready !== false));
    },
  };
}

interface Calls<T> {
  readonly read: () => Promise<T>;
  readonly create: (object: T) => Promise<T>;
  readonly replace: (object: T) => Promise<T>;
}

function shared<T extends KubernetesObject>(name: string, calls: Calls<T>): SharedObject<T> {
  return {
    name,
    get: () => unless([404], calls.read()),
    async write(object) {
      const isThere = object.metadata?.resourceVersion !== undefined;
      return (await unless([404, 409], isThere ? calls.replace(object) : calls.create(object))) !== undefined;
    },
  };
}

/** The answer; undefined when kube-apiserver answers with one of these codes. */
async function unless<T>(codes: readonly number[], answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (err) {
    if (!(err instanceof ApiException)) throw err;
    if (codes.includes(err.code)) return undefined;
    throw new Error(`kube-apiserver answers ${err.code}: ${messageIn(err.body)}`, { cause: err });
  }
}

/** Of a `metav1.Status`, which client-node 2.0.1 hands out as text where the code is not in the API's description. */
function messageIn(body: unknown): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  try {
    return (JSON.parse(text) as { readonly message?: string }).message ?? '';
  } catch {
    return text.slice(0, 1_000);
  }
}
