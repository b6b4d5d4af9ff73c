import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { NODES } from '../cluster.ts';
import { runBlock } from '../guide.ts';
import { kubectl, kubectlOk } from '../kubectl.ts';
import { commands, emptyCluster, productGone, refillCluster, removal } from './empty-cluster.ts';
import { NamespaceProbe } from './namespace-probe.ts';

const FILES = {
  both: ['deploy/device-mounter-apiserver.yaml', 'deploy/device-mounter-daemonset.yaml'],
  apiserver: ['deploy/device-mounter-apiserver.yaml'],
  daemonset: ['deploy/device-mounter-daemonset.yaml'],
} as const;

const withFiles = (which: keyof typeof FILES): readonly string[] => FILES[which].map((file) => `--filename=${file}`);

/** One thing that an administrator does; only `ready` waits for anything. */
const STEPS = {
  'apply both': () => kubectlOk(['apply', '--server-side', ...withFiles('both')]),
  'apply apiserver': () => kubectlOk(['apply', '--server-side', ...withFiles('apiserver')]),
  // Without the other file there may be no namespace for it.
  'apply daemonset': () => kubectl(['apply', '--server-side', ...withFiles('daemonset')]),
  ready: () => runBlock(commands('With kubectl', 'kubectl wait'), {}),
  'delete both': () => kubectlOk(['delete', '--wait=false', '--ignore-not-found', ...withFiles('both')]),
  'delete apiserver': () => kubectlOk(['delete', '--wait=false', '--ignore-not-found', ...withFiles('apiserver')]),
  'delete daemonset': () => kubectlOk(['delete', '--wait=false', '--ignore-not-found', ...withFiles('daemonset')]),
  'delete namespace': () => kubectlOk(['delete', 'namespace', 'device-mounter', '--wait=false', '--ignore-not-found']),
  // While the namespace ends, what it has is refused.
  'apply again': () => kubectl(['apply', '--server-side', ...withFiles('both')]),
  gone: productGone,
} as const satisfies Readonly<Record<string, () => Promise<unknown>>>;

const ORDERS: readonly (readonly (keyof typeof STEPS)[])[] = [
  ['apply both', 'ready', 'delete both'],
  ['apply both', 'ready', 'delete apiserver', 'delete daemonset'],
  ['apply both', 'ready', 'delete daemonset', 'delete apiserver'],
  ['apply both', 'ready', 'delete namespace', 'gone', 'delete both'],
  ['apply both', 'ready', 'delete namespace', 'delete both'],
  ['apply both', 'ready', 'delete both', 'apply again', 'delete both'],
  ['apply both', 'ready', 'delete namespace', 'apply again', 'gone', 'apply both', 'ready', 'delete both'],
  ['apply both', 'delete both'],
  ['apply both', 'delete namespace', 'gone', 'delete both'],
  ['apply apiserver', 'delete apiserver'],
  ['apply daemonset', 'apply both', 'delete daemonset', 'delete namespace', 'gone', 'delete apiserver'],
];

const KINDS =
  'apiservices,clusterroles,clusterrolebindings,customresourcedefinitions,namespaces,validatingadmissionpolicies,validatingadmissionpolicybindings';

/** What of the product is left in the cluster, outside of namespaces that are gone. */
async function left(): Promise<readonly string[]> {
  const names = await kubectlOk(['get', KINDS, '--output=name']);
  const bindings = await kubectlOk(['get', 'rolebindings', '--namespace=kube-system', '--output=name']);
  return `${names}${bindings}`.split('\n').filter((name) => name.includes('device-mounter'));
}

let product: string;
beforeAll(async () => {
  product = await emptyCluster();
  for (const { name } of NODES) await kubectlOk(['label', 'node', name, 'device-mounter-enable=enable', '--overwrite']);
}, 600_000);
afterAll(() => refillCluster(product), 180_000);

test.each(ORDERS.map((order) => [order.join(', '), order] as const))(
  'other namespaces are deleted at every moment of: %s; and nothing is left',
  async (_name, order) => {
    const probe = new NamespaceProbe(`probe-${randomBytes(3).toString('hex')}`);
    try {
      for (const step of order) await STEPS[step]();
      await productGone();
    } finally {
      await probe.stop();
      await removal();
    }
    expect(await left()).toEqual([]);
  },
  300_000,
);
