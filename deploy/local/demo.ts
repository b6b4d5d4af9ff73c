import type { Cluster } from './cluster.ts';
import type { Progress } from './progress.ts';
import { run } from './run.ts';

const RESOURCE = 'hostdev.k8s.io/dev_fuse';
const API = '/apis/device-mounter.io/v1alpha1/namespaces/default/pods';

/** Mounts `/dev/fuse` into a running pod on each node, opens it there, and takes it back. Throws when anything is not so. */
export async function runDemo(cluster: Cluster, progress: Progress): Promise<void> {
  for (const { name, cgroup } of cluster.nodes) {
    progress.say(`\n${name} (cgroup v${cgroup})`);
    await demoOn(cluster, name, progress);
  }
}

async function demoOn(cluster: Cluster, node: string, progress: Progress): Promise<void> {
  const kubectl = (...args: string[]): Promise<string> =>
    run(cluster.kubectl, ['--kubeconfig', cluster.kubeconfig, ...args]);
  const pod = `demo-${node}`;
  const open = (): Promise<string> =>
    kubectl('exec', pod, '--', 'sh', '-c', 'exec 3<>/dev/null; (exec 3</dev/fuse) 2>&1 && echo opened');
  const put = (verb: string, body: string): Promise<string> =>
    run('sh', [
      '-c',
      'printf %s "$1" | "$2" --kubeconfig "$3" replace --raw "$4" -f -',
      'sh',
      body,
      cluster.kubectl,
      cluster.kubeconfig,
      `${API}/${pod}/${verb}?device_type=HOSTDEV`,
    ]);

  await progress.step(`start pod ${pod}`, async () => {
    await kubectl('delete', 'pod', pod, '--ignore-not-found', '--grace-period=0', '--force');
    await kubectl(
      'run',
      pod,
      '--image=localhost/busybox:1',
      '--image-pull-policy=Never',
      `--overrides=${JSON.stringify({ spec: { nodeName: node, terminationGracePeriodSeconds: 0 } })}`,
      '--',
      'sleep',
      '1000000',
    );
    await kubectl('wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=60s');
  });
  await progress.step('open /dev/fuse in it: refused', async () => mustRefuse(await refusal(open)));
  await progress.step(`mount ${RESOURCE}`, () => put('mount', JSON.stringify({ resources: { [RESOURCE]: '1' } })));
  await progress.step('open /dev/fuse in it: opened', async () => {
    const said = await open();
    if (said.trim() !== 'opened') throw new Error(`Cannot open /dev/fuse in ${pod} after the mount: ${said}`);
  });
  await progress.step(`unmount ${RESOURCE}`, () => put('unmount', ''));
  await progress.step('open /dev/fuse in it: refused', async () => mustRefuse(await refusal(open)));
  await progress.step(`delete pod ${pod}`, () => kubectl('delete', 'pod', pod, '--grace-period=0', '--force'));
}

/** What the failing command said, or nothing when it did not fail. */
async function refusal(open: () => Promise<string>): Promise<string | undefined> {
  try {
    await open();
    return undefined;
  } catch (err) {
    const { stdout } = err as { stdout: string };
    return stdout.trim();
  }
}

function mustRefuse(said: string | undefined): void {
  if (said === undefined) throw new Error('Cannot go on: /dev/fuse opens although it is not mounted');
  if (!/nonexistent|No such file|not permitted/i.test(said))
    throw new Error(`Cannot go on: the open failed with "${said}"`);
}
