import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { APISERVER_URL } from '../../../deploy/local/addresses.ts';
import { LATER_ORIGINAL_BODY, ORIGINAL_BODY } from '../../apiserver/original-bodies.ts';
import { VolcanoScheduler } from '../../device-plugin/volcano-scheduler.ts';
import { CLUSTER, NODES } from '../cluster.ts';
import { send } from '../kube.ts';
import { kubectl, kubectlOk } from '../kubectl.ts';
import { NAMESPACE } from '../lane.ts';
import { FUSE, slavesGone, startPod } from '../pods.ts';
import { mayMount } from '../rights.ts';
import { expectNoPods, removeTargets } from '../targets.ts';

const execFileAsync = promisify(execFile);
let pod: string;
let token: string;

beforeAll(async () => {
  pod = await startPod(NODES[0]?.name ?? '');
  await kubectlOk(['create', 'serviceaccount', 'api-user']);
  const role = ['--clusterrole=device-mounter.io:generate', '--serviceaccount=default:api-user'];
  await kubectlOk(['create', 'rolebinding', 'api-user', ...role]);
  await mayMount('api-user');
  token = (await kubectlOk(['create', 'token', 'api-user'])).trim();
});

afterAll(async () => {
  await removeTargets([pod]);
  await expectNoPods();
  await kubectlOk(['delete', 'rolebinding,serviceaccount', 'api-user']);
});

const path = (verb: string, query: string) =>
  `/apis/device-mounter.io/v1alpha1/namespaces/default/pods/${pod}/${verb}?${query}`;

/** As the guides of the original have it: any content type, a bearer token for kube-apiserver. */
async function curl(verb: string, query: string, args: readonly string[]): Promise<string> {
  const { stdout } = await execFileAsync('curl', [
    '--silent',
    '--cacert',
    join(CLUSTER.paths.pki, 'ca.crt'),
    '--max-time',
    '55',
    '--write-out',
    '\n%{http_code}',
    '-H',
    `Authorization: bearer ${token}`,
    '-X',
    'PUT',
    ...args,
    `${APISERVER_URL}${path(verb, query)}`,
  ]);
  return stdout;
}

const HOSTDEV = JSON.stringify({
  resources: { [FUSE]: '1' },
  annotations: { 'device-mounter.io/expansion': 'true' },
  labels: { app: 'slave-pod' },
});

describe('curl with a token', () => {
  test('mounts and unmounts, in JSON and in the sentences of the original', async () => {
    const query = 'device_type=HOSTDEV&container=main&wait_second=38';
    expect(await curl('mount', query, ['--data', HOSTDEV])).toMatch(/"phase": ?"Mounted"[\s\S]*\n200$/);
    const text = ['-H', 'Accept: text/plain'];
    expect(await curl('unmount', `${query}&force=1`, text)).toBe('Successfully uninstalled HOSTDEV devices\n200');
    await slavesGone(pod);
    expect(await curl('mount', query, [...text, '--data', HOSTDEV])).toBe('Successfully mounted HOSTDEV devices\n200');
    expect(await curl('unmount', query, [])).toMatch(/"kind": ?"DeviceMountList"[\s\S]*\n200$/);
    await slavesGone(pod);
  });

  test('is told of rules that the pod of the example breaks', async () => {
    const patched = JSON.stringify({
      resources: { [FUSE]: '1' },
      patches: ['{"op":"replace","path":"/spec/schedulerName","value": "volcano"}'],
    });
    // A patch needs the right to make pods, which the role for mounting does not give.
    expect(await curl('mount', 'device_type=HOSTDEV', ['--data', patched])).toMatch(
      /cannot create resource[\s\S]*403$/,
    );
  });
});

describe('the bodies of the original’s API page', () => {
  const place = { node: NODES[0]?.name ?? '', namespace: NAMESPACE };
  const volcano = new VolcanoScheduler(place, send, () => 'Insufficient volcano.sh/vgpu-number');
  beforeAll(() => volcano.start());
  afterAll(() => volcano.close());

  test.each([
    ['with comments', ORIGINAL_BODY],
    ['with patches', LATER_ORIGINAL_BODY],
  ])('%s are understood; only the devices are missing here', async (_name, body) => {
    const asked = path('mount', 'device_type=GENERIC&container=main&wait_second=38');
    const refused = await kubectl(['replace', '--raw', asked, '-f', '-'], body);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/Insufficient volcano\.sh\/vgpu-number/);
  });

  test('the ClusterRole is the one that is installed', async () => {
    const role = JSON.parse(
      await kubectlOk(['get', 'clusterrole', 'device-mounter.io:generate', '-o', 'json']),
    ) as object;
    expect(role).toMatchObject({
      rules: [{ apiGroups: ['device-mounter.io'], resources: ['pods/mount', 'pods/unmount'], verbs: ['update'] }],
    });
  });
});

describe('kubectl replace --raw', () => {
  test('mounts and unmounts', async () => {
    const query = 'device_type=HOSTDEV&container=main&wait_second=38';
    expect(await kubectl(['replace', '--raw', path('mount', query), '-f', '-'], HOSTDEV)).toMatchObject({ code: 0 });
    expect(await kubectl(['replace', '--raw', path('unmount', query), '-f', '/dev/null'])).toMatchObject({ code: 0 });
    await slavesGone(pod);
  });

  test.each([
    ['NO_SUCH_TYPE', { 'volcano.sh/vgpu-number': '1' }, /NO_SUCH_TYPE/],
    ['HOSTDEV', { 'volcano.sh/vgpu-number': '1' }, /not a resource of HOSTDEV/],
  ])('tells clearly what is wrong with %s', async (type, resources, message) => {
    const body = JSON.stringify({ resources });
    const refused = await kubectl(['replace', '--raw', path('mount', `device_type=${type}`), '-f', '-'], body);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(message);
  });
});
