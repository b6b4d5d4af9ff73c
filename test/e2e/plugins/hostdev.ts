import { readFileSync } from 'node:fs';
import type { ClusterNode } from '../../../deploy/local/node/node.ts';
import { parseStat } from '../../bench/processor-time.ts';
import { productProcesses } from '../../chaos/processes.ts';
import { CLUSTER } from '../cluster.ts';
import { podsOf } from '../daemon-sets.ts';
import { ask } from '../kube.ts';
import { podPath } from '../pods.ts';

/** Samples of the hostdev plugin's metrics on a node, by series without the common beginning of their names. */
export async function pluginMetrics(node: ClusterNode): Promise<ReadonlyMap<string, number>> {
  const [pod] = await podsOf('hostdev-device-plugin', node.name);
  const path = `${podPath(`${pod?.metadata.name}:8082`, 'kube-system')}/proxy/metrics`;
  const lines = (await ask<string>('GET', path)).matchAll(/^device_mounter_hostdev_(\S+) (\S+)$/gm);
  return new Map([...lines].map(([, series = '', value]) => [series, Number(value)]));
}

/** Processor time that the hostdev plugin of a node has used since it started, in milliseconds. */
export function pluginProcessorMs(node: ClusterNode): number {
  const processes = productProcesses(CLUSTER.paths.root);
  const plugin = processes.find((one) => one.part === 'plugin' && one.node === node.name);
  if (plugin === undefined) throw new Error(`Cannot find the hostdev plugin of ${node.name}`);
  return parseStat(readFileSync(`/proc/${plugin.identity.pid}/stat`, 'latin1')).ownMs;
}
