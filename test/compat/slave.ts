import type { Cluster } from '../../deploy/local/cluster.ts';
import { run } from '../../deploy/local/run.ts';

const MOUNT = '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/held/mount?device_type=HOSTDEV&wait_second=30';
const SLAVES = '--selector=app.kubernetes.io/managed-by=device-mounter';
/** Of the local cluster's 15 s of grace; without a hold the slave ends within one. */
const HELD_MS = 8_000;

/** Throws when a slave of a mount does not outlive its SIGTERM, or the mount does not end when somebody deletes its slave. */
export async function longGrace({ kubectl, kubeconfig, nodes }: Cluster): Promise<void> {
  const ask = (...args: readonly string[]): Promise<string> => run(kubectl, ['--kubeconfig', kubeconfig, ...args]);
  const overrides = { spec: { nodeName: nodes[0]?.name, terminationGracePeriodSeconds: 0 } };
  const pod = ['held', '--image=localhost/busybox:1', '--image-pull-policy=Never'];
  await ask('run', ...pod, `--overrides=${JSON.stringify(overrides)}`, '--', 'sleep', '1000000');
  await ask('wait', '--for=condition=Ready', 'pod/held', '--timeout=60s');
  const body = JSON.stringify({ resources: { 'hostdev.k8s.io/dev_fuse': '1' } });
  const put = 'printf %s "$1" | "$2" --kubeconfig "$3" replace --raw "$4" -f -';
  await run('sh', ['-c', put, 'sh', body, kubectl, kubeconfig, MOUNT]);
  const started = performance.now();
  await ask('delete', 'pod', SLAVES, '--timeout=60s');
  const heldMs = performance.now() - started;
  const nodesOf = await ask('exec', 'held', '--', 'sh', '-c', 'test -e /dev/fuse && echo present || echo absent');
  await ask('delete', 'pod', 'held', '--grace-period=0', '--force');
  if (heldMs < HELD_MS) throw new Error(`Cannot rely on slaves here: one held its devices for ${heldMs} ms only`);
  if (nodesOf.trim() !== 'absent')
    throw new Error('Cannot go on: the device stayed in the container without its slave');
}
