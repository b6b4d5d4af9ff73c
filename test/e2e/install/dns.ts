import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { Progress } from '../../../deploy/local/progress.ts';
import { buildTools } from '../../../deploy/local/tools/build.ts';
import { COREDNS } from '../../../deploy/local/tools/table.ts';
import { planTools } from '../../../deploy/local/tools.ts';
import { CLUSTER, NODES } from '../cluster.ts';
import { kubectlOk } from '../kubectl.ts';
import { loadRootImage } from '../opener/image.ts';

const NAME = 'coredns';
const labels = { 'k8s-app': NAME };
const inKubeSystem = { name: NAME, namespace: 'kube-system' };

/** What kubelets tell all pods to ask. */
const ADDRESS = '10.96.0.10';

const COREFILE = `.:53 {
  errors
  kubernetes cluster.local
}
`;

function objects(image: string): readonly object[] {
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: inKubeSystem },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: NAME },
      rules: [
        { apiGroups: [''], resources: ['services', 'namespaces'], verbs: ['list', 'watch'] },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: NAME },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: NAME },
      subjects: [{ kind: 'ServiceAccount', ...inKubeSystem }],
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: inKubeSystem, data: { Corefile: COREFILE } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: inKubeSystem,
      spec: {
        selector: labels,
        clusterIP: ADDRESS,
        ports: ['UDP', 'TCP'].map((protocol) => ({ name: protocol.toLowerCase(), port: 53, protocol })),
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: inKubeSystem,
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: NAME,
            dnsPolicy: 'Default',
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: NAME,
                image,
                imagePullPolicy: 'Never',
                args: ['-conf', '/etc/coredns/Corefile'],
                volumeMounts: [{ name: 'config', mountPath: '/etc/coredns' }],
              },
            ],
            volumes: [{ name: 'config', configMap: { name: NAME } }],
          },
        },
      },
    },
  ];
}

const list = (items: readonly object[]): string => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

/** Gives the cluster DNS, which the local one has none of. CoreDNS is built at the first call on a machine. */
export async function startDns(): Promise<void> {
  const { all, toBuild } = planTools(process.env, [COREDNS]);
  const log = join(CLUSTER.paths.root, 'build-log');
  await buildTools(new Progress(process.stderr), toBuild, log, new AbortController().signal);
  const binary = join(all[0]?.folder ?? '', NAME);
  const image = await loadRootImage(NODES, [`/${NAME}`], async (root) => copyFileSync(binary, join(root, NAME)));
  await kubectlOk(['apply', '-f', '-'], list(objects(image)));
  await kubectlOk(['rollout', 'status', `deployment/${NAME}`, '--namespace=kube-system', '--timeout=60s']);
}

export async function stopDns(): Promise<void> {
  await kubectlOk(['delete', '--ignore-not-found', '-f', '-'], list(objects('')));
}
