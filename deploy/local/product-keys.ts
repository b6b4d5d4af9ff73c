import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority, issue } from '../../process/certificates.ts';
import type { StatePaths } from './state.ts';

/** Everything of the product is in this namespace. */
export const PRODUCT_NAMESPACE = 'device-mounter';
const SERVICE = `device-mounter-apiserver.${PRODUCT_NAMESPACE}.svc`;

export interface ProductKeys {
  /** Holds tls.crt, tls.key, ca.crt, private.pem and public.pem. */
  readonly folder: string;
  /** PEM of the authority that the aggregator is to believe. */
  readonly servingAuthority: string;
  /** The Secrets and the ConfigMap that the manifests name. */
  readonly objects: readonly unknown[];
}

/** The certificate of the apiserver's port and the pair that signs requests; made once in the life of a cluster. */
export async function ensureProductKeys(paths: StatePaths): Promise<ProductKeys> {
  const folder = join(paths.pki, 'product');
  if (!existsSync(folder)) await createKeys(folder);
  const pem = (name: string): string => readFileSync(join(folder, name), 'utf8');
  return {
    folder,
    servingAuthority: pem('ca.crt'),
    objects: [
      {
        ...named('device-mounter-apiserver-tls'),
        kind: 'Secret',
        type: 'kubernetes.io/tls',
        stringData: { 'tls.crt': pem('tls.crt'), 'tls.key': pem('tls.key') },
      },
      { ...named('device-mounter-signing'), kind: 'Secret', stringData: { 'private.pem': pem('private.pem') } },
      { ...named('device-mounter-signing-public'), kind: 'ConfigMap', data: { 'public.pem': pem('public.pem') } },
    ],
  };
}

const named = (name: string): object => ({ apiVersion: 'v1', metadata: { name, namespace: PRODUCT_NAMESPACE } });

async function createKeys(folder: string): Promise<void> {
  const authority = await createAuthority('device-mounter-serving-ca');
  const names = [SERVICE, `${SERVICE}.cluster.local`];
  const serving = await issue(authority, { commonName: SERVICE, usage: 'server', names });
  const signing = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const files = {
    'ca.crt': authority.certificate,
    'tls.crt': serving.certificate,
    'tls.key': serving.key,
    'private.pem': signing.privateKey,
    'public.pem': signing.publicKey,
  };
  mkdirSync(`${folder}.part`, { recursive: true, mode: 0o700 });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(`${folder}.part`, name), text, { mode: 0o600 });
  renameSync(`${folder}.part`, folder);
}
