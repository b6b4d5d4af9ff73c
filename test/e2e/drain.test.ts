import { afterEach, describe, expect, test } from '@jest/globals';
import { NODES } from './cluster.ts';
import { kubectlOk } from './kubectl.ts';
import { deviceMount, FUSE, inPod, mountOk, unmount } from './pods.ts';
import { Targets } from './targets.ts';
import { until } from './until.ts';

const NODE = NODES[0]?.name ?? '';
const OF_PRODUCT = ['-n', 'device-mounter'];

const targets = new Targets();
const target = (): Promise<string> => targets.start(NODE);

afterEach(() => targets.remove());

describe('a roll-out', () => {
  test('of the control workers hands a mount that waits in the queue over, and ends in seconds', async () => {
    const [holder, pod] = [await target(), await target()];
    await mountOk(holder, FUSE);
    const { name } = (await mountOk(pod, FUSE, '&queue=true&wait_second=0')).metadata;
    await until('the scheduler’s words', async () =>
      (await deviceMount(name))?.status.message?.includes('Insufficient'),
    );
    const ofControl = ['-l', 'app.kubernetes.io/name=device-mounter-control'];
    // A worker that waited for its steps would take its 28 s.
    await kubectlOk([...OF_PRODUCT, 'delete', 'pod', ...ofControl, '--wait=true', '--timeout=20s']);
    await kubectlOk([...OF_PRODUCT, 'rollout', 'status', 'deployment/device-mounter-control', '--timeout=60s']);
    expect((await deviceMount(name))?.status.phase).toBe('Pending');
    expect((await unmount(holder)).code).toBe(0);
    await until(`${name} to be mounted`, async () => (await deviceMount(name))?.status.phase === 'Mounted', 30_000);
    expect(await inPod(pod, 'exec 3<>/dev/fuse && echo opened')).toMatchObject({ stdout: 'opened\n' });
  }, 180_000);

  test('of a node worker in the middle of a mount leaves it mounted', async () => {
    const pod = await target();
    const ofNode = ['-l', 'app.kubernetes.io/name=device-mounter-node', `--field-selector=spec.nodeName=${NODE}`];
    const [mount] = await Promise.all([
      mountOk(pod, FUSE, '&wait_second=35'),
      kubectlOk([...OF_PRODUCT, 'delete', 'pod', ...ofNode, '--wait=true', '--timeout=30s']),
    ]);
    expect(mount.status.phase).toBe('Mounted');
    await kubectlOk([...OF_PRODUCT, 'rollout', 'status', 'daemonset/device-mounter-node', '--timeout=60s']);
    expect(await inPod(pod, 'exec 3<>/dev/fuse && echo opened')).toMatchObject({ stdout: 'opened\n' });
    expect((await unmount(pod)).code).toBe(0);
  }, 180_000);
});
