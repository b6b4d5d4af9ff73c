import { namespaceOf, podsOf } from './daemon-sets.ts';
import { ask } from './kube.ts';
import { podPath } from './pods.ts';

/** What all pods of a part serve together, in the Prometheus text format. */
export async function metricsOf(app: string, node?: string): Promise<string> {
  const pods = await podsOf(app, node);
  const texts = pods.map(({ metadata }) =>
    ask<string>('GET', `${podPath(`${metadata.name}:8081`, namespaceOf(app))}/proxy/metrics`),
  );
  return (await Promise.all(texts)).join('\n');
}

/** Sum of the samples of that name whose labels have all of `labels`. */
export function total(text: string, name: string, labels: Readonly<Record<string, string>>): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return [...text.matchAll(/^(\w+)\{(.*)\} (\S+)$/gm)]
    .filter(([, of, has = '']) => of === name && wanted.every((label) => has.split(',').includes(label)))
    .reduce((sum, [, , , value]) => sum + Number(value), 0);
}

/** Names of the metrics of our own. */
export function ownNames(text: string): readonly string[] {
  return [...new Set([...text.matchAll(/^# TYPE (device_mounter_\w+) /gm)].map(([, name = '']) => name))].toSorted();
}
