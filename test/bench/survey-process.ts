import type { Dependencies } from '../../activities/dependencies.ts';
import { kubernetesCluster } from '../../activities/kubernetes.ts';
import { surveyMounts } from '../../activities/survey-mounts.ts';
import type { DeviceMount } from '../../contract/device-mount.ts';
import { kubeConfigOf } from '../../process/kubernetes.ts';
import { CLUSTER } from '../workflows/requests.ts';
import { indexOf, mountOf } from './many-mounts.ts';

/** The process of survey.ts: surveys twice all mounts of the cluster of a kubeconfig, and tells its parent how many it has seen. */
const [kubeconfig, count] = process.argv.slice(2);

/** As from Temporal: each answer is read anew. */
const memoOf = (index: number): DeviceMount => JSON.parse(JSON.stringify(mountOf(index))) as DeviceMount;

const running = { phase: 'Running' };
const deps = {
  cluster: kubernetesCluster(kubeConfigOf(kubeconfig)),
  owners: {
    describe: async (_namespace: string, name: string) => ({
      open: true,
      firstRunId: '',
      mount: memoOf(indexOf(name)),
    }),
    async *all(): AsyncGenerator<DeviceMount> {
      for (let index = 0; index < Number(count); index++) yield memoOf(index);
    },
  },
  slaves: {
    synced: true,
    all: () => [],
    get: ({ name }: { name: string }) => ({ metadata: { uid: `uid-${name}` }, status: running }),
  },
  targets: { get: ({ name }: { name: string }) => ({ metadata: { uid: `uid-${name}` }, status: running }) },
  clusterName: CLUSTER,
  namespace: 'device-mounter',
  now: () => new Date(),
} as unknown as Dependencies;

let seen = 0;
for (let survey = 0; survey < 2; survey++) {
  let after: string | undefined;
  do {
    const page = await surveyMounts(deps, { ...(after !== undefined && { after }) });
    if (page.findings.length > 0) throw new Error(`it finds ${JSON.stringify(page.findings[0])}`);
    seen += page.mounted.length;
    after = page.next;
  } while (after !== undefined);
}
process.send?.(seen);
// Whoever measures it ends it.
setInterval(() => undefined, 60_000);
