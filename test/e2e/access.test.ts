import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { APISERVER_URL } from '../../deploy/local/addresses.ts';
import { CLUSTER, NODES } from './cluster.ts';
import { kubectl, kubectlOk } from './kubectl.ts';
import { apiAvailable } from './nodes.ts';
import { FUSE, slavesOf, startPod } from './pods.ts';
import { expectNoPods, removeTargets } from './targets.ts';

const MOUNT = 'device_type=HOSTDEV';
let pod: string;
let token: string;

beforeAll(async () => {
  pod = await startPod(NODES[0]?.name ?? '');
  await kubectlOk(['create', 'serviceaccount', 'stranger']);
  token = (await kubectlOk(['create', 'token', 'stranger'])).trim();
});

afterAll(async () => {
  await removeTargets([pod]);
  await expectNoPods();
  await kubectlOk(['delete', 'serviceaccount', 'stranger']);
});

const path = (name: string): string =>
  `/apis/device-mounter.io/v1alpha1/namespaces/default/pods/${name}/mount?${MOUNT}`;
const body = JSON.stringify({ resources: { [FUSE]: '1' } });

describe('aggregation', () => {
  test('the APIService is Available', apiAvailable);

  test('kubectl api-resources knows the group', async () => {
    expect(await kubectlOk(['api-resources', '--api-group=device-mounter.io'])).toMatch(/devicemounts .*DeviceMount/);
  });
});

describe('a user without update on pods/mount', () => {
  test('is refused in kubectl’s usual words', async () => {
    const stranger = ['--kubeconfig=/dev/null', `--server=${APISERVER_URL}`, `--token=${token}`];
    const authority = `--certificate-authority=${join(CLUSTER.paths.pki, 'ca.crt')}`;
    const refused = await kubectl([...stranger, authority, 'replace', '--raw', path(pod), '-f', '-'], body);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(
      `pods.device-mounter.io "${pod}" is forbidden: User "system:serviceaccount:default:stranger" cannot update resource "pods/mount" in API group "device-mounter.io" in the namespace "default"`,
    );
    expect(await slavesOf(pod)).toEqual([]);
  });
});
