import { randomBytes } from 'node:crypto';
import { PAUSE_IMAGE } from '../../deploy/local/image/small.ts';
import { hasCondition } from '../../deploy/local/kube-api.ts';
import { CLUSTER, NODES } from '../e2e/cluster.ts';
import { deletePod, FUSE, slavesGone, startPod } from '../e2e/pods.ts';
import { until } from '../e2e/until.ts';
import { atMost, type Figure, measured, p50, timed } from './figure.ts';

const ROUNDS = 5;
const PODS = '/api/v1/namespaces/default/pods';
const API = '/apis/device-mounter.io/v1alpha1/namespaces/default/pods';

/**
 * What users wait for, beside the start of a bare pod on the same cluster in the same run: mount with the device nodes known
 * at admission (HOSTDEV) and with those of the running slave (GENERIC), and unmount. Needs a cluster, see `npm start`.
 */
export async function benchMount(): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const { name, cgroup } of NODES) figures.push(...(await benchOn(name, `mount.${name}.v${cgroup}`)));
  CLUSTER.api.close();
  return figures;
}

async function benchOn(node: string, name: string): Promise<readonly Figure[]> {
  const pod = await startPod(node);
  try {
    const times: Record<'bare' | 'mount' | 'unmount' | 'generic', number[]> = {
      bare: [],
      mount: [],
      unmount: [],
      generic: [],
    };
    // In turns, so that what else the machine does falls on all of them.
    for (let round = 0; round < ROUNDS; round++) {
      times.bare.push(await barePod(node));
      for (const [key, type] of [
        ['mount', 'HOSTDEV'],
        ['generic', 'GENERIC'],
      ] as const) {
        times[key].push(
          await timed(() => put(`${pod}/mount?device_type=${type}&wait_second=38`, { resources: { [FUSE]: '1' } })),
        );
        times.unmount.push(await timed(() => put(`${pod}/unmount?device_type=${type}&wait_second=38`)));
        await slavesGone(pod);
      }
    }
    const bare = p50(times.bare);
    return [
      measured(`${name}.bare-pod.p50`, bare, 'ms'),
      measured(`${name}.hostdev.p50`, p50(times.mount), 'ms'),
      measured(`${name}.generic.p50`, p50(times.generic), 'ms'),
      measured(`${name}.unmount.p50`, p50(times.unmount), 'ms'),
      atMost(`${name}.hostdev-to-bare-pod`, p50(times.mount) / bare, 'times', 0.25),
      atMost(`${name}.generic-to-bare-pod`, p50(times.generic) / bare, 'times', 1.1),
      atMost(`${name}.unmount-to-bare-pod`, p50(times.unmount) / bare, 'times', 0.2),
    ];
  } finally {
    await deletePod(pod);
  }
}

/** Milliseconds from the request to create a pod like a slave, without a device, until it is Ready. */
async function barePod(node: string): Promise<number> {
  const name = `bare-${randomBytes(4).toString('hex')}`;
  const spec = {
    nodeSelector: { 'kubernetes.io/hostname': node },
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    containers: [{ name: 'pause', image: PAUSE_IMAGE, imagePullPolicy: 'IfNotPresent' }],
  };
  const took = await timed(async () => {
    await CLUSTER.api.send('POST', PODS, { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });
    await until(
      `${name} to be ready`,
      async () => hasCondition(await CLUSTER.api.find(`${PODS}/${name}`), 'Ready'),
      60_000,
      10,
    );
  });
  await deletePod(name);
  return took;
}

async function put(path: string, body: object = {}): Promise<void> {
  const { status, body: answer } = await CLUSTER.api.send('PUT', `${API}/${path}`, body);
  if (status !== 200) throw new Error(`PUT ${path} was answered with ${status}: ${JSON.stringify(answer)}`);
}
