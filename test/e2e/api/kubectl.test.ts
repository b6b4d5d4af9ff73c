import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeviceMount } from '../../../contract/device-mount.ts';
import { NODES } from '../cluster.ts';
import { kubectlOk, kubectlUntil } from '../kubectl.ts';
import { FUSE, mountOk, slavesGone, startPod, unmount } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { until } from '../until.ts';
import { bind, unbindAll } from './bindings.ts';

const RESOURCE = 'devicemounts.device-mounter.io';
const node = NODES[0]?.name ?? '';
let pod: string;
let mounted: DeviceMount;
beforeAll(async () => {
  pod = await startPod(node);
  mounted = await mountOk(pod, FUSE, '', { labels: { app: pod }, leaseSeconds: 3_600 });
});
afterAll(async () => {
  await removeTargets([pod]);
  await expectNoPods();
});

const rights = (user: string) => kubectlOk(['auth', 'can-i', '--list', `--as=${user}`]);

describe('kubectl', () => {
  test('get prints a table, more of it with -o wide', async () => {
    const short = await kubectlOk(['get', 'dmount', mounted.metadata.name]);
    expect(short).toMatch(/^NAME +POD +CONTAINER +TYPE +DEVICES +NODE +PHASE +LEASE +AGE *\n/);
    expect(short).toMatch(new RegExp(`${pod} +main +HOSTDEV +\\S+ +${node} +Mounted +\\d+m`));
    expect(await kubectlOk(['get', RESOURCE, '-o', 'wide'])).toMatch(/USER +SLAVES +REASON/);
  });

  test.each([
    ['a label', () => ['-l', `app=${pod}`]],
    ['a field', () => [`--field-selector=spec.podName=${pod},status.phase=Mounted`]],
    ['all namespaces', () => ['-A', `--field-selector=spec.podName=${pod}`]],
    ['pages of one', () => ['--chunk-size=1', '-l', `app=${pod}`]],
  ])('get selects by %s', async (_name, args) => {
    expect(await kubectlOk(['get', RESOURCE, '-o', 'name', ...args()])).toBe(
      `devicemount.device-mounter.io/${mounted.metadata.name}\n`,
    );
  });

  test('get -w and wait see the mount end', async () => {
    const name = `${pod}-watched`;
    const selected = [RESOURCE, '-w', '--output-watch-events', '-l', `app=${name}`];
    const watching = kubectlUntil(['get', ...selected], new RegExp(`MODIFIED +${name} .*Released`));
    // A lease that ends by itself needs nobody who asks.
    await mountOk(pod, 'hostdev.k8s.io/dev_net_tun', '', { name, labels: { app: name }, leaseSeconds: 2 });
    await kubectlOk(['wait', `${RESOURCE}/${name}`, '--for=jsonpath={.status.phase}=Released', '--timeout=60s']);
    expect(await watching).toMatch(new RegExp(`ADDED +${name} `));
  });

  test('describe tells all of it', async () => {
    const text = await kubectlOk(['describe', RESOURCE, mounted.metadata.name]);
    expect(text).toMatch(/Kind: +DeviceMount/);
    expect(text).toMatch(/Phase: +Mounted/);
    expect(text).toMatch(new RegExp(`Pod Name: +${pod}`));
  });

  test.each([
    ['devicemounts', /KIND: +DeviceMount[\s\S]*VERSION: +v1alpha1[\s\S]*spec\t<DeviceMountSpec>/],
    ['devicemounts.spec.podName', /Pod that uses the devices/],
    ['devicemounts.status', /phase\t<string>/],
  ])('explain %s', async (path, expected) => {
    expect(await kubectlOk(['explain', path, '--api-version=device-mounter.io/v1alpha1'])).toMatch(expected);
  });

  test('api-resources lists what can be listed', async () => {
    const text = await kubectlOk(['api-resources', '--api-group=device-mounter.io', '-o', 'wide', '--no-headers']);
    expect(text).toMatch(/^devicemounts +dmount +device-mounter.io\/v1alpha1 +true +DeviceMount +get,list,watch/);
  });

  test('auth can-i knows who may mount', async () => {
    await bind('contract-can-i', 'device-mounter.io:generate', '--user=ina');
    const mounts = /pods\.device-mounter\.io\/mount +\[\] +\[\] +\[update\]/;
    await until('the right to be in force', async () => mounts.test(await rights('ina')));
    expect(await rights('joe')).not.toMatch(mounts);
    await unbindAll();
  });

  test('get --raw finds OpenAPI of the group among that of the cluster', async () => {
    const root = JSON.parse(await kubectlOk(['get', '--raw', '/openapi/v3'])) as { paths: Record<string, unknown> };
    expect(root.paths).toHaveProperty(['apis/device-mounter.io/v1alpha1']);
  });

  test('replace --raw that is repeated finds the one mount, and its end', async () => {
    const tun = 'hostdev.k8s.io/dev_net_tun';
    const body = { idempotencyKey: pod };
    const first = await mountOk(pod, tun, '', body);
    const again = await mountOk(pod, tun, '&wait_second=3', body);
    expect(again.metadata.uid).toBe(first.metadata.uid);
    expect((await unmount(pod, `&mount=${first.metadata.name}`)).status).toBe(200);
    await kubectlOk(['wait', `${RESOURCE}/${first.metadata.name}`, '--for=jsonpath={.status.phase}=Released']);
    await expect(mountOk(pod, tun, '', body)).rejects.toThrow('it was mounted, and has ended since');
    expect((await unmount(pod)).status).toBe(200);
    await slavesGone(pod);
  });
});
