import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { REPOSITORY } from '../../../deploy/local/state.ts';
import { CLUSTER, NODES } from '../cluster.ts';
import { inPod } from '../exec.ts';
import { kubectlOk } from '../kubectl.ts';
import { slavesGone } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';
import { until } from '../until.ts';

const execFileAsync = promisify(execFile);
const GUIDE = readFileSync(join(REPOSITORY, 'docs', 'guides', 'api.md'), 'utf8');
const EXAMPLES = [...GUIDE.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, lines = '']) => [lines.trim()]);
/** The volume of the guide, as JSON. */
const VOLUME = { path: 'mounted', fieldRef: { fieldPath: "metadata.annotations['device-mounter.io/devices']" } };
const POD = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web' },
  spec: {
    nodeName: NODES[1]?.name ?? NODES[0]?.name,
    terminationGracePeriodSeconds: 0,
    containers: [
      {
        name: 'main',
        image: 'localhost/busybox:1',
        imagePullPolicy: 'Never',
        command: ['sleep', '100000'],
        volumeMounts: [{ name: 'devices', mountPath: '/etc/devices' }],
      },
    ],
    volumes: [{ name: 'devices', downwardAPI: { items: [VOLUME] } }],
  },
};

beforeAll(async () => {
  await cleanUp();
  await kubectlOk(['create', '-f', '-'], JSON.stringify(POD));
  await kubectlOk(['wait', '--for=condition=Ready', 'pod/web', '--timeout=180s']);
});

afterAll(cleanUp);

/** Also what a run that was killed has left. */
async function cleanUp(): Promise<void> {
  await removeTargets(['web']);
  await expectNoPods();
  const made = ['rolebinding/jane-mounts', 'rolebinding/jane-sees', 'rolebinding/mounter', 'serviceaccount/mounter'];
  await kubectlOk(['delete', ...made, '--ignore-not-found']);
}

/** Whether the application of the pod can read that it has `/dev/fuse`. */
async function seesFuse(wanted: boolean): Promise<boolean> {
  const { stdout } = await inPod('web', 'cat /etc/devices/mounted');
  return stdout.includes('"/dev/fuse"') === wanted;
}

/** What a reader does who copies the lines into a shell. */
async function run(lines: string): Promise<string> {
  const PATH = `${dirname(CLUSTER.kubectl)}:${process.env['PATH'] ?? ''}`;
  const env = { ...process.env, PATH, KUBECONFIG: CLUSTER.kubeconfig };
  const { stdout } = await execFileAsync('bash', ['-euo', 'pipefail', '-c', lines], { env });
  return stdout;
}

describe('docs/guides/api.md', () => {
  test('shows the volume that is tested here', () => {
    expect(GUIDE).toContain(
      `items: [{ path: ${VOLUME.path}, fieldRef: { fieldPath: "${VOLUME.fieldRef.fieldPath}" } }]`,
    );
    expect(EXAMPLES.length).toBeGreaterThan(5);
  });

  test.each(EXAMPLES)('%s', async (lines) => {
    // Roles are in force a moment after they were bound.
    const succeeded = async () =>
      run(lines).catch((err: Error) => (lines.includes('can-i') ? undefined : Promise.reject(err)));
    const output = await until('the example to succeed', succeeded);
    if (lines.includes('/mount?')) expect(output).toMatch(/"phase": ?"Mounted"/);
    // The kubelet brings its volumes up to date within a minute or so.
    if (lines.includes('kubectl wait')) await until('the pod to see its device', () => seesFuse(true));
    // The next mount needs the device.
    if (lines.includes('/unmount?')) {
      await slavesGone('web');
      await until('the pod to see that it has gone', () => seesFuse(false));
    }
  });
});
