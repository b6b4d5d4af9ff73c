import { join } from 'node:path';
import { credentials, Client as GrpcClient } from '@grpc/grpc-js';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { pino } from 'pino';
import { onChangedFiles } from '../process/changed-files.ts';
import { identityReader } from '../process/cluster-identity.ts';
import { kubernetesEvents } from '../process/events.ts';
import { serveHealth } from '../process/health.ts';
import { kubeApi, podAccess } from '../process/kube-api.ts';
import { settingsOrExit } from '../process/options.ts';
import { publicKeysOf } from '../process/public-keys.ts';
import { temporalAccess } from '../process/temporal-access.ts';
import { kubeSystemUid } from './cluster/kube-system.ts';
import { kubeconfigAccess } from './cluster/kubeconfig.ts';
import { LeaseRenewal } from './cluster/lease.ts';
import { kubernetesPods, kubernetesSlaves } from './cluster/pods.ts';
import { SlaveWatch } from './cluster/slave-watch.ts';
import { OPTIONS, SUMMARY } from './config.ts';
import { AllocationGuard } from './guards/allocation-guard.ts';
import { Healer, LOOK_PERIOD_MS } from './guards/healer.ts';
import { takeOrphansBackOnce } from './guards/orphans.ts';
import { recover } from './guards/recover.ts';
import { SlaveGuard } from './guards/slave-guard.ts';
import { createEngine } from './kernel/create-engine.ts';
import { HelperPool } from './kernel/helper-pool.ts';
import { Changes } from './kubelet/changes.ts';
import { kubeletOf } from './kubelet/kubelet-files.ts';
import { podResourcesOf } from './kubelet/pod-resources.ts';
import { NodeMetrics } from './metrics.ts';
import type { NodeDependencies } from './mounts/dependencies.ts';
import { criContainers } from './runtime/cri.ts';
import { criSocketOf } from './runtime/socket.ts';
import { Locks } from './state/locks.ts';
import { FileMountStore } from './state/mount-store.ts';
import { lockState } from './state/state-lock.ts';
import { createNodeActivities } from './steps/node-activities.ts';
import { NodeTaskWorker, ownerTeller } from './temporal.ts';

/** The host's own, and that of a driver that is installed by a container, as NVIDIA's GPU operator does it. */
const DRIVER_ROOTS = ['', '/run/nvidia/driver'];

/** How often the files for Temporal are looked at. */
const FILES_PERIOD_MS = 10_000;

const settings = settingsOrExit(SUMMARY, OPTIONS);
const log = pino({ name: 'node-worker', base: { node: settings['node-name'] } });
Runtime.install({
  logger: new DefaultLogger('INFO', ({ level, message, meta }) => {
    log[level === 'ERROR' ? 'error' : level === 'WARN' ? 'warn' : 'debug'](meta ?? {}, message);
  }),
  shutdownSignals: [],
});

const node = settings['node-name'];
const access = temporalAccess(settings);
const kube = kubeApi(
  settings.kubeconfig === undefined ? podAccess(process.env) : await kubeconfigAccess(settings.kubeconfig),
);
/** Not awaited: containers are looked after while kube-apiserver is unreachable, too. */
const identity = identityReader(settings['cluster-name'], () => kubeSystemUid(kube));
/** Known before the first task is served. */
let clusterName = '';
const kubeletDir = settings['kubelet-dir'];
const devicePluginDir = settings['device-plugin-dir'];
const criSocket = criSocketOf(settings['cri-socket'], settings['host-root']);

await lockState(settings['state-dir'], (sentence) => log.warn(`another node worker runs: ${sentence}`));
const store = await FileMountStore.open(settings['state-dir']);
for (const file of store.unreadable) log.error(file, 'cannot read the checkpoint of a mount');

const changes = new Changes([devicePluginDir, kubeletDir, join(kubeletDir, 'pods')], (err) =>
  log.warn({ err }, 'the kubelet is not watched, only polled'),
);
const stopping = new AbortController();
const slaves = new SlaveWatch({
  source: kubernetesSlaves(kube, node),
  onEnd: (uid, why) => guard.slaveEnded(uid, why),
  onList: (uids) => guard.slavesListed(uids),
  onChange: () => changes.notify(),
  onError: (err) => log.warn({ err }, 'cannot follow the slave pods, trying again'),
  retryMs: 500,
  periodMs: 60_000,
});
const helpers = new HelperPool((container, why) => log.warn({ container, why }, 'gave up looking into a container'));
helpers.start();
const deps: NodeDependencies = {
  node,
  get clusterName() {
    return clusterName;
  },
  publicKeys: publicKeysOf(settings['signing-public-keys'], (err) =>
    log.error({ err }, 'cannot use the public keys, going on with those before'),
  ),
  pods: kubernetesPods(kube),
  events: kubernetesEvents(kube, node),
  kubelet: kubeletOf({ kubeletDir, devicePluginDir }),
  podResources: podResourcesOf(
    new GrpcClient(`unix:${join(kubeletDir, 'pod-resources/kubelet.sock')}`, credentials.createInsecure()),
  ),
  containers: criContainers(new GrpcClient(`unix:${criSocket}`, credentials.createInsecure())),
  engine: createEngine({ helpers }),
  store,
  locks: new Locks(),
  endOfSlave: (uid) => slaves.endOf(uid),
  slaveRuns: (uid) => slaves.runs(uid),
  lastSlaveStartMs: () => slaves.lastStartMs,
  changes,
  hostRoot: settings['host-root'],
  driverRoots: settings['driver-root'] === undefined ? DRIVER_ROOTS : [settings['driver-root']],
  log,
  metrics: new NodeMetrics(() => store.records()),
};
const temporal = {
  access,
  identity: async () => {
    const known = await identity();
    clusterName = known.name;
    return known;
  },
  node,
  activities: createNodeActivities(deps),
  log,
};
const tellOwner = ownerTeller(temporal, stopping.signal);
const guard = new SlaveGuard({ deps, tellOwner, retryMs: 1_000 });
const healer = new Healer({
  deps,
  tellOwner,
  release: (mount, why, notice) => guard.release(mount, why, notice),
  periodMs: LOOK_PERIOD_MS,
  slaveDeadlineMs: 60_000,
});
const allocations = new AllocationGuard({
  deps,
  release: (mount, why, notice) => guard.release(mount, why, notice),
  pollMs: 1_000,
});
const worker = new NodeTaskWorker(temporal);
const lease = new LeaseRenewal({
  api: kube,
  namespace: settings.namespace,
  node,
  onError: (err) => log.warn({ err }, 'cannot renew the Lease'),
});

const health = await serveHealth({
  port: Number(settings['health-port']),
  ready: {
    temporal: () => worker.problem,
    slaves: () => (slaves.synced ? undefined : 'the slave pods are not followed'),
  },
  metrics: () => deps.metrics.text(),
});

async function stop(signal: string): Promise<void> {
  log.info({ signal }, 'stopping');
  await worker.stop();
  // Not before: what still waits in the queue is for the next worker, and must not be told that there is none.
  await lease.stop();
  stopping.abort();
  await healer.stop();
  await allocations.stop();
  await slaves.stop();
  await guard.stop();
  changes.close();
  health.close();
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    void stop(signal).then(
      () => process.exit(0),
      (err: unknown) => {
        log.error({ err }, 'did not stop cleanly');
        process.exit(1);
      },
    );
  });
}

onChangedFiles(access.files, FILES_PERIOD_MS, () => {
  log.info('another certificate or key for Temporal');
  process.kill(process.pid, 'SIGTERM');
});

await recover(deps);
void takeOrphansBackOnce(deps, 5_000, stopping.signal);
guard.resume();
healer.start();
allocations.start();
slaves.start();
lease.start();
worker.start();
log.info({ criSocket }, 'started');
