import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Credential, createAuthority, issue, type LeafRequest } from '../../../process/certificates.ts';
import { CONTROL_ADDRESS, KUBERNETES_SERVICE_ADDRESS } from '../addresses.ts';
import type { StatePaths } from '../state.ts';
import { kubeconfigOf } from './kubeconfig.ts';

/** Who talks to kube-apiserver from outside of pods: the file name of the kubeconfig and who that is. */
const CLIENTS: Readonly<Record<string, Omit<LeafRequest, 'usage'>>> = {
  admin: { commonName: 'admin', organization: 'system:masters' },
  'controller-manager': { commonName: 'system:kube-controller-manager' },
  scheduler: { commonName: 'system:kube-scheduler' },
  'kube-proxy': { commonName: 'system:kube-proxy' },
};

const kubeconfigFile = (paths: StatePaths, user: string): string =>
  user === 'admin' ? paths.kubeconfig : join(paths.config, `${user}.kubeconfig`);

/**
 * Makes new keys and certificates for the whole cluster, with a front-proxy authority of its own: a client certificate of the
 * cluster must never pass for kube-apiserver speaking for somebody.
 */
export async function createPki(paths: StatePaths, nodes: readonly string[]): Promise<void> {
  for (const folder of [paths.pki, paths.config]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const cluster = await createAuthority('cluster-ca');
  const frontProxy = await createAuthority('front-proxy-ca');
  writeCredential(paths, 'ca', cluster);
  writeCredential(paths, 'front-proxy-ca', frontProxy);
  writeCredential(
    paths,
    'front-proxy-client',
    await issue(frontProxy, { commonName: 'front-proxy-client', usage: 'client' }),
  );
  const names = [CONTROL_ADDRESS, KUBERNETES_SERVICE_ADDRESS, 'localhost', 'kubernetes.default.svc'];
  writeCredential(paths, 'apiserver', await issue(cluster, { commonName: 'kube-apiserver', usage: 'server', names }));
  writeCredential(
    paths,
    'kubelet-client',
    await issue(cluster, {
      commonName: 'kube-apiserver-kubelet-client',
      organization: 'system:masters',
      usage: 'client',
    }),
  );
  writeServiceAccountKeys(paths);
  const users = nodes.map((name): [string, Omit<LeafRequest, 'usage'>] => [
    name,
    { commonName: `system:node:${name}`, organization: 'system:nodes' },
  ]);
  for (const [user, subject] of [...Object.entries(CLIENTS), ...users]) {
    const credential = await issue(cluster, { ...subject, usage: 'client' });
    writeFileSync(kubeconfigFile(paths, user), kubeconfigOf(cluster.certificate, credential), { mode: 0o600 });
    if (user === 'admin') writeCredential(paths, 'admin', credential);
  }
}

function writeCredential(paths: StatePaths, name: string, { certificate, key }: Credential): void {
  writeFileSync(join(paths.pki, `${name}.crt`), certificate);
  writeFileSync(join(paths.pki, `${name}.key`), key, { mode: 0o600 });
}

function writeServiceAccountKeys(paths: StatePaths): void {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(join(paths.pki, 'service-account.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
  const pem = privateKey.export({ type: 'sec1', format: 'pem' });
  writeFileSync(join(paths.pki, 'service-account.key'), pem, { mode: 0o600 });
}
