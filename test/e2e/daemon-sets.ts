import { getJson, kubectlOk } from './kubectl.ts';
import { until } from './until.ts';

/** The product's DaemonSets, by name. */
export type DaemonSetName = 'device-mounter-node' | 'hostdev-device-plugin';

/** Takes the pods of a DaemonSet away from every node, or lets them return, and waits until that is so. */
export async function place(daemonSet: DaemonSetName, where: 'nowhere' | 'everywhere'): Promise<void> {
  const which = ['--namespace=device-mounter', `daemonset/${daemonSet}`];
  const nodeSelector = { 'kubernetes.io/hostname': where === 'nowhere' ? 'nowhere' : null };
  const patch = JSON.stringify({ spec: { template: { spec: { nodeSelector } } } });
  await kubectlOk(['patch', ...which, '--type=merge', `--patch=${patch}`]);
  await kubectlOk(['rollout', 'status', ...which, '--timeout=120s']);
  if (where === 'nowhere') await until(`the pods of ${daemonSet} to be gone`, () => hasNoPods(daemonSet));
}

async function hasNoPods(daemonSet: DaemonSetName): Promise<boolean> {
  const selector = `--selector=app.kubernetes.io/name=${daemonSet}`;
  const pods = await getJson<{ items: unknown[] }>(['pods', '--namespace=device-mounter', selector]);
  return pods?.items.length === 0;
}
