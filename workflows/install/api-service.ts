import { get } from 'node:https';
import type { V1APIService } from '@kubernetes/client-node';
import { API_GROUP, API_VERSION } from '../../contract/names.ts';
import type { ServiceAddress } from './kubernetes.ts';
import { SERVICE, servingName } from './serving-certificate.ts';

export const API_SERVICE = `${API_VERSION}.${API_GROUP}`;

/** cert-manager writes caBundle of an APIService with this annotation. */
const INJECT = 'cert-manager.io/inject-ca-from';
/** Below the 100 that kube-apiserver gives v1beta1, so that kubectl prefers DeviceMounts from there. */
const VERSION_PRIORITY = 10;

/** What an APIService of ours is made of. */
export interface Registration {
  readonly namespace: string;
  readonly port: number;
  /** The ClusterRole that it is deleted with. */
  readonly owner: { readonly name: string; readonly uid: string };
  /** PEM; without it the apiserver must have a certificate that kube-apiserver believes anyway. */
  readonly authorities: string | undefined;
  /** `<namespace>/<Certificate>` of cert-manager, if that is who writes caBundle. */
  readonly injectFrom: string | undefined;
}

/** Whether it leads to the apiserver in `namespace`, and not to one that is installed elsewhere. */
export function isOurs(api: V1APIService, namespace: string): boolean {
  const { service } = api.spec ?? {};
  return service?.namespace === namespace && service.name === SERVICE;
}

/** Whether kube-apiserver has tried to reach the apiserver and failed. */
export function isFailing(api: V1APIService): boolean {
  const available = availability(api);
  return available?.status === 'False' && available.reason === 'FailedDiscoveryCheck';
}

/** Whether kube-apiserver reaches the apiserver. */
export function isAvailable(api: V1APIService): boolean {
  return availability(api)?.status === 'True';
}

const availability = ({ status }: V1APIService) => status?.conditions?.find(({ type }) => type === 'Available');

/** What must be written, if `api` is not like that already. */
export function changedApiService(api: V1APIService | undefined, wanted: Registration): V1APIService | undefined {
  const next = apiServiceOf(api, wanted);
  return api !== undefined && essence(api) === essence(next) ? undefined : next;
}

function apiServiceOf(api: V1APIService | undefined, wanted: Registration): V1APIService {
  const { namespace, port, owner, authorities, injectFrom } = wanted;
  const { [INJECT]: _injected, ...annotations } = api?.metadata?.annotations ?? {};
  const own = authorities === undefined ? undefined : Buffer.from(authorities).toString('base64');
  // It is made with one, so that it works from the first moment; after that there is one writer only.
  const caBundle = injectFrom === undefined || api === undefined ? own : api.spec?.caBundle;
  return {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: {
      ...api?.metadata,
      name: API_SERVICE,
      annotations: { ...annotations, ...(injectFrom !== undefined && { [INJECT]: injectFrom }) },
      ownerReferences: [{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', ...owner }],
    },
    spec: {
      group: API_GROUP,
      version: API_VERSION,
      groupPriorityMinimum: 100,
      versionPriority: VERSION_PRIORITY,
      service: { namespace, name: SERVICE, port },
      ...(caBundle !== undefined && { caBundle }),
    },
  };
}

/** The parts that we say something about, as text. */
function essence({ metadata, spec }: V1APIService): string {
  const { group, version, groupPriorityMinimum, versionPriority, service, caBundle, insecureSkipTLSVerify } =
    spec ?? {};
  const owners = metadata?.ownerReferences?.map(({ kind, name, uid }) => [kind, name, uid]);
  const where = [service?.namespace, service?.name, service?.port];
  const priorities = [groupPriorityMinimum, versionPriority];
  const tls = [caBundle ?? '', insecureSkipTLSVerify === true, metadata?.annotations?.[INJECT] ?? ''];
  return JSON.stringify([group, version, priorities, where, tls, owners]);
}

/** Asks the apiserver whether it is ready, as kube-apiserver would reach it. Answers what is wrong, if anything is, also no answer within `answerMs`. */
export function apiserverProblem(
  { host, port }: ServiceAddress,
  namespace: string,
  authorities: string | undefined,
  answerMs: number,
): Promise<string | undefined> {
  const servername = servingName(namespace);
  const tls = { servername, ...(authorities !== undefined && { ca: authorities }) };
  return new Promise((resolve) => {
    const options = { host, port, path: '/readyz', headers: { host: servername }, agent: false, timeout: answerMs };
    const request = get({ ...options, ...tls }, (response) => {
      response.resume();
      resolve(response.statusCode === 200 ? undefined : `it answers ${response.statusCode}`);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${answerMs / 1_000} s`)));
    request.on('error', (err) => resolve(err.message));
  });
}
