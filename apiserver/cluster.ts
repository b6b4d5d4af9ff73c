import {
  ApiException,
  AuthenticationV1Api,
  AuthorizationV1Api,
  CoreV1Api,
  CustomObjectsApi,
  type KubeConfig,
  SchedulingV1Api,
  type V1Container,
  type V1Pod,
} from '@kubernetes/client-node';
import { OBJECT_LABELS, OBJECT_VERSION } from '../contract/device-mount-object.ts';
import { fail } from '../contract/failures.ts';
import { API_GROUP } from '../contract/names.ts';
import { apiClient } from '../process/kubernetes.ts';
import type { Review } from './authorization.ts';
import type { ListObjects, ObjectList } from './objects.ts';
import type { GetPriority } from './priority.ts';
import type { GetPod, TargetPod } from './target.ts';
import type { ReviewToken } from './tokens.ts';

/** Reads pods of the cluster. */
export function podReader(config: KubeConfig): GetPod {
  const core = apiClient(config, CoreV1Api);
  return async (namespace, name) => {
    try {
      return targetPodOf(await core.readNamespacedPod({ namespace, name }));
    } catch (err) {
      if (err instanceof ApiException && err.code === 404) return undefined;
      throw err;
    }
  };
}

function targetPodOf({ metadata, spec, status }: V1Pod): TargetPod {
  const { namespace, name, uid } = metadata ?? {};
  if (namespace === undefined || name === undefined || uid === undefined) throw fail('Internal', 'a pod has no uid');
  return {
    namespace,
    name,
    uid,
    containers: (spec?.containers ?? []).map((container) => container.name),
    sidecars: (spec?.initContainers ?? []).filter(isSidecar).map((container) => container.name),
    running: [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])]
      .filter(({ state }) => state?.running !== undefined)
      .map((container) => container.name),
    annotations: metadata?.annotations ?? {},
    ...(spec?.nodeName !== undefined && { node: spec.nodeName }),
    ...(status?.phase !== undefined && { phase: status.phase }),
    priority: spec?.priority ?? 0,
    ending: metadata?.deletionTimestamp !== undefined,
  };
}

function isSidecar({ restartPolicy }: V1Container): boolean {
  return restartPolicy === 'Always';
}

/** Lists the DeviceMounts of pods. */
export function objectLister(config: KubeConfig): ListObjects {
  const objects = apiClient(config, CustomObjectsApi);
  const kind = { group: API_GROUP, version: OBJECT_VERSION, plural: 'devicemounts' };
  return async ({ namespace, podUid }) => {
    const labelSelector = `${OBJECT_LABELS.targetUid}=${podUid}`;
    return (await objects.listNamespacedCustomObject({ ...kind, namespace, labelSelector })) as ObjectList;
  };
}

/** Reads the values of priority classes. */
export function priorityReader(config: KubeConfig): GetPriority {
  const scheduling = apiClient(config, SchedulingV1Api);
  return async (name) => {
    try {
      return (await scheduling.readPriorityClass({ name })).value;
    } catch (err) {
      if (err instanceof ApiException && err.code === 404) return undefined;
      throw err;
    }
  };
}

/** Asks kube-apiserver whether somebody may do something. */
export function reviewer(config: KubeConfig): Review {
  const authorization = apiClient(config, AuthorizationV1Api);
  return async ({ groups, extra, ...spec }) => {
    const copied = Object.fromEntries(Object.entries(extra).map(([key, values]) => [key, [...values]]));
    const review = await authorization.createSubjectAccessReview({
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: { ...spec, groups: [...groups], extra: copied },
      },
    });
    const { allowed, denied, reason } = review.status ?? { allowed: false };
    return { allowed, ...(denied !== undefined && { denied }), ...(reason !== undefined && { reason }) };
  };
}

/** Asks kube-apiserver whose a token is that was made for `audience`. */
export function tokenReviewer(config: KubeConfig, audience: string): ReviewToken {
  const authentication = apiClient(config, AuthenticationV1Api);
  return async (token) => {
    const review = await authentication.createTokenReview({
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: [audience] },
      },
    });
    const { authenticated, audiences, user } = review.status ?? {};
    // An answer without audiences comes from an authenticator that has not looked at them.
    if (authenticated !== true || !audiences?.includes(audience) || !user?.username) return undefined;
    const { username: name, uid, groups = [], extra = {} } = user;
    return { name, ...(uid !== undefined && { uid }), groups, extra };
  };
}
