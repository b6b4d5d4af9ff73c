import { dirname } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { V1APIService, V1Secret } from '@kubernetes/client-node';
import { helmProgram } from '../../../deploy/helm.ts';
import { deployedReplicas } from '../api/direct.ts';
import { pathOf } from '../api/namespaces.ts';
import { NODES } from '../cluster.ts';
import { canOpen } from '../exec.ts';
import { runBlock } from '../guide.ts';
import { ask, find, remove, send } from '../kube.ts';
import { kubectlOk } from '../kubectl.ts';
import { deletePod, FUSE, GROUP, mountOk, slavesGone, startPod, unmount } from '../pods.ts';
import { until } from '../until.ts';
import { startCertManager, stopCertManager } from './cert-manager.ts';
import { API_SERVICE, commands, emptyCluster, productGone, refillCluster } from './empty-cluster.ts';

const NODE = NODES[0]?.name ?? '';
const SERVING = 'device-mounter-apiserver-tls';
const OURS = 'image.repository=registry.example/device-mounter';
const CERTIFICATE = `/apis/cert-manager.io/v1/namespaces/device-mounter/certificates/${SERVING}`;
/** Kubelets bring a changed Secret to a pod within two minutes. */
const BROUGHT_MS = 300_000;

const secretPath = (name: string): string => `/api/v1/namespaces/device-mounter/secrets/${name}`;
/** A file of a Secret in base64, as caBundle has it. */
const fileOf = async (secret: string, file: string): Promise<string | undefined> =>
  (await find<V1Secret>(secretPath(secret)))?.data?.[file];
const registered = (): Promise<V1APIService | undefined> => find<V1APIService>(API_SERVICE);

/** The certificates that the apiserver's replicas show now, by their SHA-256. */
async function shown(): Promise<readonly string[]> {
  const replicas = await deployedReplicas();
  return Promise.all(
    replicas.map(
      ({ host, port }) =>
        new Promise<string>((resolve, reject) => {
          const socket = connect({ host, port, rejectUnauthorized: false }, () => {
            resolve(socket.getPeerCertificate().fingerprint256);
            socket.destroy();
          }).once('error', reject);
        }),
    ),
  );
}

/** What `cmctl renew` does. */
async function renew(): Promise<void> {
  const issuing = { type: 'Issuing', status: 'True', reason: 'ManuallyTriggered', message: 'by a test' };
  const conditions = [{ ...issuing, lastTransitionTime: new Date().toISOString() }];
  await ask('PATCH', `${CERTIFICATE}/status`, { status: { conditions } });
}

/** Asks our apiserver without a pause until `signal`. Answers each answer that was not 200. */
async function wrongAnswers(signal: AbortSignal): Promise<readonly unknown[]> {
  const wrong: unknown[] = [];
  while (!signal.aborted) {
    const answer = await send('GET', GROUP);
    if (answer.status !== 200) wrong.push(answer);
  }
  return wrong;
}

let product: string;
let pod: string;
beforeAll(async () => {
  pod = await startPod(NODE);
  product = await emptyCluster();
  await kubectlOk(['label', 'node', NODE, 'device-mounter-enable=enable', '--overwrite']);
  await startCertManager();
});
afterAll(async () => {
  await stopCertManager();
  await deletePod(pod);
  await refillCluster(product);
});

describe('device-mounter by Helm with certificates of cert-manager', () => {
  test('answers, and mounts', async () => {
    const install = commands('With Helm', 'helm install', { [OURS]: 'certificates.mode=certManager' });
    await runBlock(`PATH=${dirname(await helmProgram())}:$PATH\n${install}`, {});
    await runBlock(commands('With kubectl', 'kubectl wait'), {});
    await mountOk(pod, FUSE, '&wait_second=40');
    expect(await canOpen(pod, '/dev/fuse')).toBe(true);
  });

  test('makes no authority of its own', async () => {
    expect(await find(secretPath('device-mounter-ca'))).toBeUndefined();
    const authority = await fileOf('device-mounter-cert-manager-ca', 'tls.crt');
    expect(await fileOf(SERVING, 'ca.crt')).toBe(authority);
    expect((await registered())?.spec?.caBundle).toBe(authority);
  });

  test('fails no request while a certificate is renewed', async () => {
    const before = await shown();
    expect(before.length).toBeGreaterThan(0);
    const ended = new AbortController();
    const wrong = wrongAnswers(ended.signal);
    try {
      await renew();
      const isRenewed = async () => (await shown()).every((certificate) => !before.includes(certificate));
      await until('the new certificate', isRenewed, BROUGHT_MS, 1_000);
    } finally {
      ended.abort();
    }
    expect(await wrong).toEqual([]);
  });

  test('is believed again by kube-apiserver once a new authority is in use', async () => {
    const before = await fileOf(SERVING, 'ca.crt');
    await remove(secretPath('device-mounter-cert-manager-ca'));
    const replaced = async () => {
      const authority = await fileOf('device-mounter-cert-manager-ca', 'tls.crt');
      return authority !== undefined && authority !== before && authority;
    };
    const authority = await until('a new authority', replaced);
    await renew();
    const isBelieved = async () =>
      (await registered())?.spec?.caBundle === authority && (await send('GET', GROUP)).status === 200;
    await until('the API with the new authority', isBelieved, BROUGHT_MS, 1_000);
    expect((await unmount(pod, '&wait_second=40')).status).toBe(200);
    await slavesGone(pod);
  });

  test('goes as the guide tells it', async () => {
    const uninstall = ['uninstall', 'device-mounter', '--namespace', 'device-mounter'];
    await runBlock(`PATH=${dirname(await helmProgram())}:$PATH\nhelm ${uninstall.join(' ')}`, {});
    await kubectlOk(['delete', 'namespace', 'device-mounter']);
    await productGone();
    expect([await registered(), await find(pathOf('device-mounter'))]).toEqual([undefined, undefined]);
  });
});
