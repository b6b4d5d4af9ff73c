import { afterEach, expect, test } from '@jest/globals';
import { NODES } from './cluster.ts';
import { containerIdOf, deviceState } from './device-state.ts';
import { getJson, kubectl, type Outcome } from './kubectl.ts';
import { FUSE, mountOk } from './pods.ts';
import { Targets } from './targets.ts';

const targets = new Targets();
afterEach(() => targets.remove());

/** Runs `device-mounter-node inspect` in the node worker of `node`, as docs/guides/inspect-a-node.md says. */
async function inspect(node: string, containerId: string): Promise<Outcome> {
  const selector = '--selector=app.kubernetes.io/name=device-mounter-node';
  const workers = await getJson<{ items: { metadata: { name: string } }[] }>([
    'pods',
    '--namespace=device-mounter',
    selector,
    `--field-selector=spec.nodeName=${node},status.phase=Running`,
  ]);
  const worker = workers?.items[0]?.metadata.name ?? '';
  return kubectl(['exec', '--namespace=device-mounter', worker, '--', 'device-mounter-node', 'inspect', containerId]);
}

test.each(NODES.map(({ name }) => name))(
  'inspect on %s says what is ours, as the kernel does, and changes nothing',
  async (node) => {
    const pod = await targets.start(node);
    const { metadata } = await mountOk(pod, FUSE);
    const before = await deviceState(pod);
    const { code, stdout } = await inspect(node, `containerd://${await containerIdOf(pod)}`);
    expect(stdout).toMatch(/^agreement +yes$/m);
    expect(stdout).toMatch(new RegExp(`^/dev/fuse +c 10:229 .*ours: mount default/${metadata.name} of `, 'm'));
    expect(code).toBe(0);
    expect(await deviceState(pod)).toEqual(before);
  },
);

test('inspect of a container that is not there says so', async () => {
  const { code, stderr } = await inspect(NODES[0]?.name ?? '', 'f'.repeat(64));
  expect(code).toBe(2);
  expect(stderr).toMatch(/no cgroup/);
});
