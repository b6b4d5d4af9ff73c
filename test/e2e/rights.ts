import { API_GROUP } from '../../contract/names.ts';
import { ask } from './kube.ts';
import { NAMESPACE } from './lane.ts';
import { until } from './until.ts';

/** Waits until a service account that was bound to the right to mount has it: kube-apiserver learns of bindings a moment later. */
export async function mayMount(serviceAccount: string): Promise<void> {
  const user = `system:serviceaccount:${NAMESPACE}:${serviceAccount}`;
  const resource = { group: API_GROUP, resource: 'pods', subresource: 'mount', namespace: NAMESPACE };
  const review = { spec: { user, resourceAttributes: { ...resource, verb: 'update' } } };
  await until(`${user} to have its rights`, async () => {
    const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
    return (await ask<{ status: { allowed: boolean } }>('POST', path, review)).status.allowed;
  });
}
