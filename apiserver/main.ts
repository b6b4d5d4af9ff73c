import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { onChangedFiles } from '../process/changed-files.ts';
import { ClusterClaim } from '../process/cluster-claim.ts';
import { identityReader } from '../process/cluster-identity.ts';
import { kubeConfigOf, kubeSystemUid } from '../process/kubernetes.ts';
import { settingsOrExit } from '../process/options.ts';
import { temporalAccess } from '../process/temporal-access.ts';
import { createApp } from './app.ts';
import { objectLister, podReader, priorityReader, reviewer, tokenReviewer } from './cluster.ts';
import { OPTIONS, SUMMARY } from './config.ts';
import { Tokens } from './identity/tokens.ts';
import type { Trust } from './identity/trust.ts';
import { clusterTrustSource, watchTrust } from './identity/trust-watch.ts';
import { signingKeyOf } from './mounts/signing-key.ts';
import { temporalClient } from './mounts/temporal-connection.ts';
import { TemporalMounts } from './mounts/temporal-mounts.ts';
import { Metrics } from './server/metrics.ts';
import { readServingPair, watchServingPair } from './server/serving-certificate.ts';
import { TlsServer } from './server/tls-server.ts';

/** Longer than the answer to any mount or unmount takes. */
const DRAIN_MS = 60_000;

/** How often the files for Temporal are looked at; the kubelet brings a changed Secret within a minute or two. */
const FILES_PERIOD_MS = 10_000;

const settings = settingsOrExit(SUMMARY, OPTIONS);
const log = pino({ name: 'apiserver' });
const signingKey = signingKeyOf(settings['signing-key'], (err) =>
  log.error({ err }, 'cannot use the signing key, going on with the one before'),
);
// Without a key nothing can be done: say so at the start.
signingKey();
const cluster = kubeConfigOf(settings.kubeconfig);
const access = temporalAccess(settings);
const temporal = temporalClient(access);
/** Not awaited: health and discovery are served without kube-apiserver, too. */
const identity = identityReader(settings['cluster-name'], () => kubeSystemUid(cluster));
const claim = new ClusterClaim(identity, { connection: temporal.connection, namespace: access.namespace });

let trust: Trust | undefined;
let stopping = false;
const audience = settings['token-audience'];
const metrics = new Metrics();
const app = createApp({
  trust: () => trust,
  tokens: audience === undefined ? undefined : new Tokens(metrics.delegated('authn', tokenReviewer(cluster, audience))),
  review: metrics.delegated('authz', reviewer(cluster)),
  getPod: podReader(cluster),
  getPriority: priorityReader(cluster),
  mounts: new TemporalMounts(temporal, claim),
  listObjects: objectLister(cluster),
  clusterName: () => claim.name(),
  signingKey,
  readiness: {
    checks: {
      authentication: () => (trust === undefined ? 'has not read whom to believe' : undefined),
      shutdown: () => (stopping ? 'is stopping' : undefined),
    },
  },
  log,
  metrics,
  maxMutatingRequests: Number(settings['max-mutating-requests']),
});

const pair = await readServingPair(settings['tls-dir']);
const server = new TlsServer(pair, '', app);
const stopWatching = watchServingPair(settings['tls-dir'], pair, log, (next) => {
  server.usePair(next);
  metrics.servingWith(next);
});
metrics.servingWith(pair);
const ended = new AbortController();
const applyTrust = (next: Trust) => {
  server.useCa(next.pem);
  trust = next;
};
void watchTrust(clusterTrustSource(cluster), log, applyTrust, ended.signal);
const port = await server.listen(Number(settings['secure-port']), settings['bind-address']);
log.info({ port }, 'serving');
claim.claim().then(
  async () => log.info({ cluster: await identity() }, 'the name of the cluster is claimed'),
  (err: unknown) => log.warn({ err }, 'cannot claim the name of the cluster yet'),
);

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop(signal));
onChangedFiles(access.files, FILES_PERIOD_MS, () => void stop('another certificate or key for Temporal'));

/** Clients are sent elsewhere first, then what is being answered is answered. */
async function stop(why: string): Promise<void> {
  if (stopping) return;
  stopping = true;
  log.info({ why }, 'stopping');
  server.leave();
  await delay(Number(settings['shutdown-delay']) * 1_000);
  await server.drain(DRAIN_MS);
  stopWatching();
  ended.abort();
  await temporal.connection.close();
  process.exit(0);
}
