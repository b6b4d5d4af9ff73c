import type { DeviceMountObject } from '../../../contract/device-mount-object.ts';
import type { FailureType } from '../../../contract/failures.ts';
import type { KubeAnswer } from '../../../deploy/local/kube-api.ts';
import { CLUSTER } from '../cluster.ts';
import { failureIn, send } from '../kube.ts';
import { KMSG, mountsPath, type ShownMount, shown } from '../pods.ts';
import { until } from '../until.ts';

const API = '/apis/device-mounter.io/v1alpha1/namespaces/default';
/** Long enough for every part to have come back, and for a node worker's Lease. */
const PATIENCE_MS = 300_000;

const AWAY: readonly (FailureType | undefined)[] = [undefined, 'TemporalUnavailable', 'Internal'];

/** `undefined` when nobody could answer: no connection, or somebody for a server that is away, or a 404 while the API is. */
async function put(path: string, body?: object): Promise<KubeAnswer | undefined> {
  try {
    const answer = await send('PUT', path, body ?? {});
    const isAway = (answer.status >= 500 || answer.status === 404) && AWAY.includes(failureIn(answer));
    return isAway ? undefined : answer;
  } catch {
    return undefined;
  }
}

/** What is shown of the mount, or `undefined` while nothing is or nobody can tell. */
export async function findMount(name: string): Promise<ShownMount | undefined> {
  return shown((await CLUSTER.api.find(`${mountsPath()}/${name}`)) as DeviceMountObject | undefined);
}

/** One request to mount `/dev/kmsg`; the same for the same pod. */
export function putMount(pod: string, name = `kill-${pod}`): Promise<KubeAnswer | undefined> {
  const body = { name, idempotencyKey: name, resources: { [KMSG]: '1' } };
  return put(`${API}/pods/${pod}/mount?device_type=HOSTDEV&wait_second=38`, body);
}

/** Repeats the request, as a caller does who got no answer, until the mount is made or has failed for good. */
export async function mountAgain(pod: string): Promise<ShownMount> {
  return until(
    `mount kill-${pod} to be made or undone`,
    async () => {
      await putMount(pod);
      const mount = await findMount(`kill-${pod}`);
      return mount?.status.phase === 'Mounted' || mount?.status.phase === 'Failed' ? mount : undefined;
    },
    PATIENCE_MS,
  );
}

export function putUnmount(pod: string): Promise<KubeAnswer | undefined> {
  return put(`${API}/pods/${pod}/unmount?device_type=HOSTDEV&wait_second=30`);
}

/** Repeats the request until it is done, by this or an earlier try. */
export async function unmountAgain(pod: string): Promise<void> {
  await until(
    `${pod} to be unmounted`,
    async () => {
      const answer = await putUnmount(pod);
      return answer?.status === 200 || (answer?.status === 404 && failureIn(answer) === 'NothingMounted');
    },
    PATIENCE_MS,
  );
}
