import { readFileSync } from 'node:fs';
import type { DataConverter } from '@temporalio/common';
import { parsePayloadKeys, payloadEncryption } from './payload-encryption.ts';
import type { TEMPORAL_OPTIONS } from './temporal-options.ts';

type Name = keyof typeof TEMPORAL_OPTIONS;
type Given = 'temporal-address' | 'temporal-namespace';
export type TemporalSettings = { readonly [Key in Given]: string } & {
  readonly [Key in Exclude<Name, Given>]?: string | undefined;
};

/** As the connections of the SDK take it. */
export interface TemporalTls {
  readonly serverRootCACertificate?: Buffer;
  readonly clientCertPair?: { readonly crt: Buffer; readonly key: Buffer };
  readonly serverNameOverride?: string;
}

/** What a process needs to connect to Temporal, and to read and write there. */
export interface TemporalAccess {
  readonly namespace: string;
  /** For the connections of the SDK. */
  readonly connection: { readonly address: string; readonly tls?: TemporalTls };
  /** The API key as it is now. */
  readonly apiKey?: () => string;
  /** For clients and workers. */
  readonly dataConverter: DataConverter;
  /** Read once: a change of one of them needs a new process. */
  readonly files: readonly string[];
}

/** Reads the files that the settings name. Throws when one is missing or makes no sense. */
export function temporalAccess(settings: TemporalSettings): TemporalAccess {
  const keys = settings['temporal-payload-keys'];
  const apiKeyFile = settings['temporal-api-key-file'];
  const tls = tlsOf(settings);
  const files = (['temporal-tls-ca', 'temporal-tls-cert', 'temporal-tls-key', 'temporal-payload-keys'] as const)
    .map((name) => settings[name])
    .filter((file) => file !== undefined);
  return {
    namespace: settings['temporal-namespace'],
    connection: { address: settings['temporal-address'], ...(tls !== undefined && { tls }) },
    ...(apiKeyFile !== undefined && { apiKey: apiKeyReader(apiKeyFile) }),
    dataConverter:
      keys === undefined ? {} : { payloadCodecs: [payloadEncryption(parsePayloadKeys(readFileSync(keys, 'utf8')))] },
    files,
  };
}

function tlsOf(settings: TemporalSettings): TemporalTls | undefined {
  const ca = settings['temporal-tls-ca'];
  const crt = settings['temporal-tls-cert'];
  const key = settings['temporal-tls-key'];
  const name = settings['temporal-tls-server-name'];
  const implied = [ca, crt, key, name, settings['temporal-api-key-file']].some((value) => value !== undefined);
  const wanted = settings['temporal-tls'];
  if (wanted === 'false' || (wanted === undefined && !implied)) return undefined;
  if ((crt === undefined) !== (key === undefined)) {
    throw new Error('Cannot start: --temporal-tls-cert and --temporal-tls-key must be given together');
  }
  return {
    ...(ca !== undefined && { serverRootCACertificate: readFileSync(ca) }),
    ...(crt !== undefined &&
      key !== undefined && { clientCertPair: { crt: readFileSync(crt), key: readFileSync(key) } }),
    ...(name !== undefined && { serverNameOverride: name }),
  };
}

/** A file that is being replaced leaves the key as it was. */
function apiKeyReader(file: string): () => string {
  let known = readFileSync(file, 'utf8').trim();
  return () => {
    try {
      known = readFileSync(file, 'utf8').trim() || known;
    } catch {
      // Not there at this moment.
    }
    return known;
  };
}
