import type { Cluster } from '../../deploy/local/cluster.ts';
import { PLACED, placementLabel } from '../../deploy/local/placement.ts';
import { run } from '../../deploy/local/run.ts';
import { until } from '../../deploy/local/wait.ts';

const MOUNT = '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/held/mount?device_type=HOSTDEV&wait_second=30';
const SLAVES = '--selector=app.kubernetes.io/managed-by=device-mounter';
const NODE_WORKERS = ['--namespace=device-mounter', '--selector=app.kubernetes.io/name=device-mounter-node'];
const PLACEMENT = placementLabel('device-mounter-node');
/** Of the local cluster's 15 s of grace; without a hold the slave ends within one. */
const HELD_MS = 8_000;

/**
 * Throws when a slave that somebody deletes does not hold its devices until the node worker can take them back, here one that is away, or
 * when they are not taken back then.
 */
export async function longGrace({ kubectl, kubeconfig, nodes }: Cluster): Promise<void> {
  const ask = (...args: readonly string[]): Promise<string> => run(kubectl, ['--kubeconfig', kubeconfig, ...args]);
  const node = nodes[0]?.name ?? '';
  const overrides = { spec: { nodeName: node, terminationGracePeriodSeconds: 0 } };
  const pod = ['held', '--image=localhost/busybox:1', '--image-pull-policy=Never'];
  await ask('run', ...pod, `--overrides=${JSON.stringify(overrides)}`, '--', 'sleep', '1000000');
  await ask('wait', '--for=condition=Ready', 'pod/held', '--timeout=60s');
  const body = JSON.stringify({ resources: { 'hostdev.k8s.io/dev_fuse': '1' } });
  const put = 'printf %s "$1" | "$2" --kubeconfig "$3" replace --raw "$4" -f -';
  await run('sh', ['-c', put, 'sh', body, kubectl, kubeconfig, MOUNT]);
  await ask('label', 'node', node, `${PLACEMENT}-`);
  await ask('wait', 'pod', ...NODE_WORKERS, '--for=delete', '--timeout=60s');
  const started = performance.now();
  await ask('delete', 'pod', SLAVES, '--timeout=60s');
  const heldMs = performance.now() - started;
  if (heldMs < HELD_MS) throw new Error(`Cannot rely on slaves here: one held its devices for ${heldMs} ms only`);
  await ask('label', 'node', node, `${PLACEMENT}=${PLACED}`);
  const isTaken = async (): Promise<boolean> =>
    (await ask('exec', 'held', '--', 'sh', '-c', 'test -e /dev/fuse || echo absent')) === 'absent\n';
  await until('the device to be taken from the container', isTaken, { timeoutMs: 60_000, everyMs: 500 });
  await ask('delete', 'pod', 'held', '--grace-period=0', '--force');
}
