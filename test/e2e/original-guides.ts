import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { APISERVER_URL } from '../../deploy/local/addresses.ts';
import { CLUSTER } from './cluster.ts';
import { ask, remove } from './kube.ts';
import { NAMESPACE } from './lane.ts';
import { mayMount } from './rights.ts';

const execFileAsync = promisify(execFile);
const HOST = "'https://{cluster-ip}:6443";
const path = (verb: string): string =>
  `${HOST}/apis/device-mounter.io/v1alpha1/namespaces/default/pods/gpu-pod/${verb}`;

/** The requests in the original's guides, byte for byte. */
export const ORIGINAL_REQUESTS = {
  mountGpu: String.raw`curl --location \
--request PUT ${path('mount')}?device_type=NVIDIA_GPU&container=cuda-container&wait_second=30' \
--header 'Authorization: bearer token...' \
--data '{"resources": {"nvidia.com/gpu": "1"}}' `,
  unmountGpu: String.raw`curl --location \
--request POST ${path('unmount')}?device_type=NVIDIA_GPU&container=cuda-container&force=true' \
--header 'Authorization: bearer token...' `,
  mountVgpu: String.raw`curl --location \
--request PUT ${path('mount')}?device_type=VOLCANO_VGPU&container=ubuntu-container&wait_second=30' \
--header 'Authorization: bearer token...' \
--data '{"resources": {"volcano.sh/vgpu-number": "1","volcano.sh/vgpu-memory": "1024"}}' `,
  unmountVgpu: String.raw`curl --location \
--request POST ${path('unmount')}?device_type=VOLCANO_VGPU&container=ubuntu-container&force=true' \
--header 'Authorization: bearer token...' `,
  expandVgpu: String.raw`curl --location \
--request PUT ${path('mount')}?device_type=VOLCANO_VGPU&container=ubuntu-container&wait_second=30' \
--header 'Authorization: bearer token...' \
--data '{"resources": {"volcano.sh/vgpu-number": "1","volcano.sh/vgpu-memory": "1024"}, "annotation": {"device-mounter.io/expansion":"true"}}' `,
  mountNpu: String.raw`curl --location \
--request PUT ${HOST}/apis/device-mounter.io/v1alpha1/namespaces/default/pods/npu-test/mount?device_type=ASCEND_NPU&wait_second=30' \
--header 'Authorization: bearer token...' \
--data '{"resources": {"huawei.com/Ascend910":"1"}}' `,
} as const;

const USER = 'original-user';
const OBJECTS = [
  `/api/v1/namespaces/${NAMESPACE}/serviceaccounts`,
  `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}/rolebindings`,
] as const;

/** Somebody with the rights that the original's pages ask for, who sends its requests. */
export class OriginalUser {
  #token = '';

  async create(): Promise<void> {
    const metadata = { name: USER };
    await ask('POST', OBJECTS[0], { metadata });
    await ask('POST', OBJECTS[1], {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'device-mounter.io:generate' },
      subjects: [{ kind: 'ServiceAccount', name: USER, namespace: NAMESPACE }],
    });
    const { status } = await ask<{ status: { token: string } }>('POST', `${OBJECTS[0]}/${USER}/token`, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {},
    });
    this.#token = status.token;
    await mayMount(USER);
  }

  async remove(): Promise<void> {
    for (const objects of OBJECTS) await remove(`${objects}/${USER}`);
  }

  /** Runs a request as it stands there, but for what stands for the cluster, the namespace, the pod and the token. Answers the body. */
  async send<T>(request: string, pod: string): Promise<T> {
    const command = request
      .replace('https://{cluster-ip}:6443', APISERVER_URL)
      .replace(/namespaces\/default\/pods\/[^/]+/, `namespaces/${NAMESPACE}/pods/${pod}`)
      .replace('bearer token...', `bearer ${this.#token}`);
    const env = { PATH: process.env['PATH'], CURL_CA_BUNDLE: join(CLUSTER.paths.pki, 'ca.crt') };
    const { stdout } = await execFileAsync('/bin/sh', ['-c', command], { env });
    return JSON.parse(stdout) as T;
  }

  /** Its guides unmount by POST, which is no verb of the API, and never was one: the API page and the original's server have PUT. */
  async unmount<T>(request: string, pod: string): Promise<T> {
    const refused = await this.send<{ code: number }>(request, pod);
    if (refused.code !== 403) throw new Error(`POST must be forbidden, was answered with ${JSON.stringify(refused)}`);
    return this.send<T>(request.replace('--request POST', '--request PUT'), pod);
  }
}
