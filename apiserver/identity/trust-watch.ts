import { setTimeout as delay } from 'node:timers/promises';
import { ApiException, CoreV1Api, type KubeConfig, type V1ConfigMap } from '@kubernetes/client-node';
import { apiClient } from '../../process/kubernetes.ts';
import { objectChanged } from '../../process/object-changed.ts';
import { parseTrust, type Trust } from './trust.ts';

const NAMESPACE = 'kube-system';
const NAME = 'extension-apiserver-authentication';
const PATH = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
/** Pause before it is read again. */
const RETRY_MS = 2_000;

export interface ConfigMapData {
  readonly data: Readonly<Record<string, string>>;
  readonly resourceVersion: string;
}

/** Where the ConfigMap comes from. */
export interface TrustSource {
  /** Undefined when there is none. */
  readonly read: () => Promise<ConfigMapData | undefined>;
  /** Resolves when it may have changed since `resourceVersion`, a minute later at the latest. */
  readonly changed: (resourceVersion: string, signal: AbortSignal) => Promise<void>;
}

interface TrustLog {
  readonly info: (message: string) => void;
  readonly warn: (object: object, message: string) => void;
}

/**
 * Keeps the trust as the cluster has it, until `signal`. What cannot be read or parsed leaves the last good one in force; before the
 * first there is none.
 */
export async function watchTrust(
  source: TrustSource,
  log: TrustLog,
  apply: (trust: Trust) => void,
  signal: AbortSignal,
  retryMs = RETRY_MS,
): Promise<void> {
  let applied: string | undefined;
  while (!signal.aborted) {
    try {
      const found = await source.read();
      if (found === undefined) throw new Error(`there is no ConfigMap ${NAMESPACE}/${NAME}`);
      const { data, resourceVersion } = found;
      const text = JSON.stringify(data);
      if (text !== applied) {
        const trust = parseTrust(data);
        warnOfWeakness(trust, log);
        apply(trust);
        applied = text;
        log.info('whom to believe was read');
      }
      await source.changed(resourceVersion, signal);
    } catch (err) {
      if (signal.aborted) return;
      log.warn({ err }, 'cannot read whom to believe, the last that could be read stays');
    }
    // A watch that ends at once must not become a loop of reads.
    await delay(retryMs, undefined, { signal }).catch(() => undefined);
  }
}

function warnOfWeakness({ requestHeader }: Trust, log: TrustLog): void {
  if (requestHeader === undefined)
    log.warn({}, 'kube-apiserver has no aggregation layer configured: nobody can be believed');
  else if (requestHeader.allowedNames.length === 0) {
    log.warn({}, 'requestheader-allowed-names is empty: every certificate of the front proxy’s CA can be anyone');
  }
}

/** The ConfigMap of a cluster. */
export function clusterTrustSource(config: KubeConfig): TrustSource {
  const core = apiClient(config, CoreV1Api);
  return {
    read: async () => {
      try {
        return dataOf(await core.readNamespacedConfigMap({ namespace: NAMESPACE, name: NAME }));
      } catch (err) {
        if (err instanceof ApiException && err.code === 404) return undefined;
        throw err;
      }
    },
    changed: (resourceVersion, signal) => objectChanged(config, PATH, NAME, resourceVersion, signal),
  };
}

function dataOf({ data, metadata }: V1ConfigMap): ConfigMapData {
  return { data: data ?? {}, resourceVersion: metadata?.resourceVersion ?? '' };
}
