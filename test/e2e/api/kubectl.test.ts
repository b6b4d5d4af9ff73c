import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { NODES } from '../cluster.ts';
import { kubectlOk } from '../kubectl.ts';
import { mountOk, slavesGone, startPod, TUN, unmount } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { until } from '../until.ts';
import { bind, unbindAll } from './bindings.ts';

let pod: string;
beforeAll(async () => {
  pod = await startPod(NODES[0]?.name ?? '');
});
afterAll(async () => {
  await removeTargets([pod]);
  await expectNoPods();
});

const rights = (user: string) => kubectlOk(['auth', 'can-i', '--list', `--as=${user}`]);

describe('kubectl', () => {
  test('auth can-i knows who may mount', async () => {
    await bind('contract-can-i', 'device-mounter.io:generate', '--user=ina');
    const mounts = /pods\.device-mounter\.io\/mount +\[\] +\[\] +\[update\]/;
    await until('the right to be in force', async () => mounts.test(await rights('ina')));
    expect(await rights('joe')).not.toMatch(mounts);
    await unbindAll();
  });

  test('get --raw finds OpenAPI of the group among that of the cluster', async () => {
    const root = JSON.parse(await kubectlOk(['get', '--raw', '/openapi/v3'])) as { paths: Record<string, unknown> };
    for (const version of ['v1alpha1', 'v1beta1'])
      expect(root.paths).toHaveProperty([`apis/device-mounter.io/${version}`]);
  });

  test('replace --raw that is repeated finds the one mount, and its end', async () => {
    const body = { idempotencyKey: pod };
    const first = await mountOk(pod, TUN, '', body);
    const again = await mountOk(pod, TUN, '&wait_second=3', body);
    expect(again.metadata.uid).toBe(first.metadata.uid);
    expect((await unmount(pod, `&mount=${first.metadata.name}`)).status).toBe(200);
    await kubectlOk([
      'wait',
      `devicemount/${first.metadata.name}`,
      '--for=jsonpath={.status.phase}=Released',
      '--timeout=180s',
    ]);
    await expect(mountOk(pod, TUN, '', body)).rejects.toThrow('it was mounted, and has ended since');
    await slavesGone(pod);
  });
});
