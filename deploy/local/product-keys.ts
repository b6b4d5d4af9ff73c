import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1APIService } from '@kubernetes/client-node';
import { kubeConfigOf } from '../../process/kubernetes.ts';
import { changedApiService } from '../../workflows/install/api-service.ts';
import { type InstallObjects, installObjects } from '../../workflows/install/kubernetes.ts';
import { textOf } from '../../workflows/install/rotation.ts';
import { keepServingCertificate } from '../../workflows/install/serving-certificate.ts';
import { keepSigningKeys } from '../../workflows/install/signing-keys.ts';
import type { Cluster } from './cluster.ts';

/** Everything of the product is in this namespace. */
export const PRODUCT_NAMESPACE = 'device-mounter';

/** Owns the APIService; of device-mounter-apiserver.yaml. */
const OWNER = 'device-mounter:installation';

type Place = Pick<Cluster, 'kubeconfig' | 'paths'>;

/** Where `ensureProductKeys` leaves tls.crt, tls.key, ca.crt, private.pem and public.pem. */
export function productKeysFolder({ paths }: Pick<Cluster, 'paths'>): string {
  return join(paths.pki, 'product');
}

/**
 * The product's certificate and keys as files, for processes of this machine and for tests. They are those of the cluster; where it has
 * none yet, they are made as the control worker makes them.
 */
export async function ensureProductKeys(place: Place): Promise<void> {
  const objects = objectsOf(place);
  while (!(await keepServingCertificate(objects, Date.now())));
  while ((await keepSigningKeys(objects, Date.now())) === undefined);
  const files = {
    ...(await secretFiles(objects, 'device-mounter-apiserver-tls')),
    ...(await secretFiles(objects, 'device-mounter-signing')),
    ...(await objects.configMap('device-mounter-signing-public').get())?.data,
  };
  const folder = productKeysFolder(place);
  const part = `${folder}.part`;
  mkdirSync(part, { recursive: true, mode: 0o700 });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(part, name), text, { mode: 0o600 });
  rmSync(folder, { recursive: true, force: true });
  renameSync(part, folder);
}

/** The APIService that the control worker would register, for a product whose control worker does not. */
export async function productApiService(place: Place): Promise<V1APIService | undefined> {
  const objects = objectsOf(place);
  const { 'ca.crt': authorities } = await secretFiles(objects, 'device-mounter-apiserver-tls');
  const owner = { name: OWNER, uid: (await objects.clusterRoleUid(OWNER)) ?? '' };
  const more = { port: 443, authorities, injectFrom: undefined };
  return changedApiService(undefined, { namespace: PRODUCT_NAMESPACE, owner, ...more });
}

const objectsOf = ({ kubeconfig }: Place): InstallObjects =>
  installObjects(kubeConfigOf(kubeconfig), PRODUCT_NAMESPACE);

async function secretFiles(objects: InstallObjects, name: string): Promise<Record<string, string>> {
  const { data = {} } = (await objects.secret(name).get()) ?? {};
  return Object.fromEntries(Object.entries(data).map(([file, value]) => [file, textOf(value)]));
}
