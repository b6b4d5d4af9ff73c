import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from '@temporalio/client';
import { type Logger, type LogLevel, type NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { createClusterActivities } from '../activities/cluster-activities.ts';
import { FirstObjects } from '../activities/first-objects.ts';
import { kubernetesCluster } from '../activities/kubernetes.ts';
import { temporalOwners } from '../activities/owners.ts';
import { PodWatch } from '../activities/pod-watch.ts';
import { SchedulingTeller } from '../activities/scheduling-teller.ts';
import { SLAVE_SELECTOR } from '../activities/slave-pod.ts';
import { holdsBy, type SlaveSettings } from '../activities/slave-settings.ts';
import { TargetAnnotations } from '../activities/target-annotations.ts';
import { tellOwners } from '../activities/tell-owners.ts';
import { TargetWatch } from '../activities/watch-targets.ts';
import { controlQueue } from '../contract/names.ts';
import type { PublicKey } from '../contract/signature.ts';
import { onChangedFiles } from '../process/changed-files.ts';
import { ClusterClaim, NameOfAnotherCluster } from '../process/cluster-claim.ts';
import { awaitIdentity, type ClusterIdentity, identityReader } from '../process/cluster-identity.ts';
import { serveHealth } from '../process/health.ts';
import { kubeConfigOf, kubernetesMinor, kubeSystemUid } from '../process/kubernetes.ts';
import { settingsOrExit } from '../process/options.ts';
import { publicKeysOf } from '../process/public-keys.ts';
import { quantitiesOf } from '../process/quantities.ts';
import { repeat } from '../process/repeat.ts';
import { sdkMetrics } from '../process/sdk-metrics.ts';
import { temporalAccess } from '../process/temporal-access.ts';
import { buildWorkflowBundle } from './bundle.ts';
import { concurrency } from './concurrency.ts';
import { OPTIONS, SUMMARY } from './config.ts';
import { installObjects } from './install/kubernetes.ts';
import { ApiRegistrar } from './install/registrar.ts';
import { keepServingCertificate, SERVING_SECRET } from './install/serving-certificate.ts';
import { keepSigningKeys } from './install/signing-keys.ts';
import { ensureSchedule } from './schedule.ts';
import { connectTemporal, temporalProblem } from './temporal.ts';
import { prepareNamespace } from './temporal-namespace.ts';

const settings = settingsOrExit(SUMMARY, OPTIONS);
const log = pino({ name: 'control' });
const access = temporalAccess(settings);

/**
 * After SIGTERM steps that only wait are handed over at once, since these alone heed a cancellation; all others end by
 * themselves within this time. The pod's grace is 45 s.
 */
const SHUTDOWN_FORCE_MS = 28_000;

/** How often the Secrets and the ConfigMap with certificates and keys are looked at, and the APIService. */
const KEYS_PERIOD_MS = 30_000;
const REGISTRATION_PERIOD_MS = 5_000;

/**
 * How often search attributes and Schedule are looked for: Temporal may come back with an empty database; and how often the
 * files for Temporal are looked at.
 */
const PREPARE_PERIOD_MS = 15_000;

/** In seconds: from a mount on an idle node to one that waits for a device in the queue. */
const BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];

async function slaveSettings(): Promise<SlaveSettings> {
  return {
    image: settings['slave-image'],
    pullSecrets: settings['slave-pull-secrets']?.split(',') ?? [],
    graceSeconds: Number(settings['slave-grace-seconds']),
    requests: quantitiesOf(settings['slave-requests']),
    limits: quantitiesOf(settings['slave-limits']),
    holdsBy: holdsBy(await kubernetesMinor(kubeConfig)),
  };
}

const LEVELS = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;

function write(level: LogLevel, message: string, meta?: object): void {
  log[LEVELS[level]](meta ?? {}, message);
}

function sdkLogger(): Logger {
  return {
    log: write,
    trace: (message, meta) => write('TRACE', message, meta),
    debug: (message, meta) => write('DEBUG', message, meta),
    info: (message, meta) => write('INFO', message, meta),
    warn: (message, meta) => write('WARN', message, meta),
    error: (message, meta) => write('ERROR', message, meta),
  };
}

/** The image holds the bundle ready-made; a checkout does not. */
async function workflowBundle(logger: Logger): Promise<string> {
  try {
    return readFileSync(join(import.meta.dirname, '..', 'workflow-bundle.js'), 'utf8');
  } catch {
    return buildWorkflowBundle(logger);
  }
}

/** Between two tries to claim the name of the cluster. */
const CLAIM_RETRY_MS = 1_000;

/** Resolves as soon as the name is this cluster's. @throws NameOfAnotherCluster */
async function claimed(claim: ClusterClaim): Promise<void> {
  for (;;) {
    try {
      await claim.claim(0);
      return;
    } catch (err) {
      if (err instanceof NameOfAnotherCluster) throw err;
      log.warn({ err }, 'cannot claim the name of the cluster yet');
      await delay(CLAIM_RETRY_MS);
    }
  }
}

function onClaimError(err: unknown): void {
  if (!(err instanceof NameOfAnotherCluster)) {
    log.warn({ err }, 'cannot confirm the name of the cluster');
    return;
  }
  log.error(`${err.message} Stopping.`);
  process.kill(process.pid, 'SIGTERM');
}

function cannotKeepKeys(err: unknown): void {
  log.error({ err }, 'cannot keep certificates and keys, trying again');
}

/** Keeps certificates and keys, unless somebody else does. Answers the function that tells the public keys as they are now. */
async function keptKeys(): Promise<() => readonly PublicKey[]> {
  const repetition = { periodMs: KEYS_PERIOD_MS, onError: cannotKeepKeys, signal: ended.signal };
  if (settings.certificates === 'existing') {
    const fromFile = publicKeysOf(settings['signing-public-keys'], (err) =>
      log.error({ err }, 'cannot use the public keys, going on with those before'),
    );
    // Without keys nothing can be done: say so at the start.
    fromFile();
    return fromFile;
  }
  if (settings.certificates === 'self') void repeat(() => keepServingCertificate(objects, Date.now()), repetition);
  return new Promise((resolve) => {
    let keys: readonly PublicKey[] = [];
    const step = async (): Promise<boolean> => {
      const latest = await keepSigningKeys(objects, Date.now());
      if (latest === undefined) return false;
      keys = latest;
      resolve(() => keys);
      return true;
    };
    void repeat(step, repetition);
  });
}

/** Registers the API from now on, if that is wanted. */
function startRegistrar(owner: string | undefined): void {
  if (owner === undefined) return;
  const injectFrom = settings.certificates === 'cert-manager' ? `${settings.namespace}/${SERVING_SECRET}` : undefined;
  const more = { log, nowMs: () => performance.now(), periodMs: REGISTRATION_PERIOD_MS };
  const registrar = new ApiRegistrar({ objects, owner, injectFrom, ...more });
  ended.signal.addEventListener('abort', () => registrar.stop());
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => registrar.registerNoMore());
  void registrar.run();
}

/** @throws NameOfAnotherCluster */
async function run(connection: NativeConnection, identity: ClusterIdentity, code: string): Promise<void> {
  const { namespace, dataConverter } = access;
  const { name: clusterName } = identity;
  const client = new Client({ connection, namespace, dataConverter });
  const claim = new ClusterClaim(async () => identity, { connection, namespace });
  await claimed(claim);
  const prepare = async (): Promise<void> => {
    if (access.apiKey !== undefined) await connection.setApiKey(access.apiKey()).catch(() => undefined);
    // Whoever has lost the name must not go on; Temporal may have lost it, too.
    await claim.claim(0).catch(onClaimError);
    for (const { problem, command, err } of await prepareNamespace(connection, namespace))
      log.warn({ err }, `${problem}. Somebody who may has to run: ${command}`);
    await ensureSchedule(client, clusterName, Number(settings['reconcile-seconds'])).catch((err: unknown) =>
      log.warn({ err }, 'cannot make the Schedule'),
    );
  };
  await prepare();
  const period = setInterval(() => void prepare(), PREPARE_PERIOD_MS);
  const owners = temporalOwners(client, clusterName);
  const stopTelling = tellOwners(slaves, owners, (err) => log.warn({ err }, 'cannot tell the owner of a slave'));
  const scheduling = new SchedulingTeller(slaves, owners, (err) =>
    log.warn({ err }, 'cannot tell a mount of its slave'),
  );
  const targets = new TargetWatch({
    cluster,
    slaves,
    owners,
    onError: (err) => log.warn({ err }, 'cannot tell an owner about its target'),
  });
  const taskQueue = controlQueue(clusterName);
  const worker = await Worker.create({
    connection,
    namespace,
    dataConverter,
    taskQueue,
    workflowBundle: { code },
    activities: createClusterActivities({
      cluster,
      slaves,
      targets,
      owners,
      annotations: new TargetAnnotations(cluster, targets),
      firstObjects: new FirstObjects(),
      clusterName,
      publicKeys,
      namespace: settings.namespace,
      slaveSettings: await slaveSettings(),
      now: () => new Date(),
    }),
    shutdownGraceTime: 0,
    shutdownForceTime: SHUTDOWN_FORCE_MS,
    ...concurrency(),
  });
  log.info({ taskQueue, cluster: identity }, 'running');
  process.off('SIGTERM', endEarly).off('SIGINT', endEarly);
  // Ends after SIGTERM, when what was in flight has ended or was handed over.
  await worker.run();
  clearInterval(period);
  stopTelling();
  scheduling.stop();
  await targets.stop();
}

const logger = sdkLogger();
const metrics = await sdkMetrics({ device_mounter_mount_seconds: BUCKETS, device_mounter_unmount_seconds: BUCKETS });
Runtime.install({
  logger,
  telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} }, metrics: metrics.exporter },
});
const endEarly = (): never => process.exit(0);
process.once('SIGTERM', endEarly).once('SIGINT', endEarly);

const kubeConfig = kubeConfigOf(settings.kubeconfig);
const cluster = kubernetesCluster(kubeConfig);
const slaves = new PodWatch({
  cluster,
  labels: SLAVE_SELECTOR,
  onError: (err) => log.warn({ err }, 'cannot follow slave pods'),
});
const objects = installObjects(kubeConfig, settings.namespace);
const ended = new AbortController();
let connection: NativeConnection | undefined;
const health = await serveHealth({
  port: Number(settings['health-port']),
  ready: {
    temporal: () => (connection === undefined ? 'is not connected' : temporalProblem(connection, access.namespace)),
    slaves: () => (slaves.synced ? undefined : 'are not listed yet'),
  },
  metrics: () => metrics.text(),
});
onChangedFiles(access.files, PREPARE_PERIOD_MS, () => {
  log.info('another certificate or key for Temporal: stopping');
  process.kill(process.pid, 'SIGTERM');
});
slaves.start();
startRegistrar(settings['api-service-owner']);
const publicKeys = await keptKeys();
const code = await workflowBundle(logger);
const identity = await awaitIdentity(
  identityReader(settings['cluster-name'], () => kubeSystemUid(kubeConfig)),
  (err) => log.warn({ err }, 'cannot read the UID of namespace kube-system yet'),
);
connection = await connectTemporal(access, (err) => log.warn({ err }, 'cannot reach Temporal yet'));
const serving = connection;
await run(serving, identity, code).catch((err: unknown) => {
  if (!(err instanceof NameOfAnotherCluster)) throw err;
  log.fatal(err.message);
  process.exit(1);
});
await slaves.stop();
await connection.close();
health.close();
ended.abort();
log.info('stopped');
