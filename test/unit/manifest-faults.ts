import type { V1Container, V1PodSpec } from '@kubernetes/client-node';
import { OPTIONS as APISERVER } from '../../apiserver/config.ts';
import { OPTIONS as DEVICE_PLUGIN } from '../../device-plugin/config.ts';
import { OPTIONS as NODE_WORKER } from '../../node-worker/config.ts';
import { type Options, readOptions } from '../../process/options.ts';
import { OPTIONS as CONTROL } from '../../workflows/config.ts';
import { faultsOf } from './kubernetes-fields.ts';

/** An object of a manifest, as far as the checks here read it. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: {
    readonly template?: { readonly spec: V1PodSpec };
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
  };
}

const MAINS: Readonly<Record<string, Options>> = {
  'apiserver/main.ts': APISERVER,
  'device-plugin/main.ts': DEVICE_PLUGIN,
  'node-worker/main.ts': NODE_WORKER,
  'workflows/main.ts': CONTROL,
};

/** What is wrong with objects that are installed together: fields, volumes, accounts, and command lines of our processes. */
export function manifestFaults(objects: readonly KubeObject[]): readonly string[] {
  const accounts = objects.filter(({ kind }) => kind === 'ServiceAccount').map(({ metadata }) => metadata.name);
  return objects.flatMap((object) => {
    const at = `${object.kind} ${object.metadata.name}`;
    const pod = object.spec?.template?.spec;
    const claims = (object.spec?.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name);
    return [...fieldFaults(object, at), ...(pod === undefined ? [] : podFaults(pod, { accounts, claims }, at))];
  });
}

/** cert-manager's kinds are not among the models. */
function fieldFaults(object: KubeObject, at: string): readonly string[] {
  return object.apiVersion.startsWith('cert-manager.io/') ? [] : faultsOf(object, `V1${object.kind}`, at);
}

interface Others {
  readonly accounts: readonly string[];
  readonly claims: readonly string[];
}

function podFaults(pod: V1PodSpec, { accounts, claims }: Others, at: string): readonly string[] {
  const account = pod.serviceAccountName;
  const volumes = (pod.volumes ?? []).map(({ name }) => name);
  const mounts = pod.containers.flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name));
  return [
    ...(account === undefined || accounts.includes(account) ? [] : [`${at}: no ServiceAccount ${account}`]),
    ...volumes.filter((name) => !mounts.includes(name)).map((name) => `${at}: nobody mounts ${name}`),
    ...mounts.filter((name) => ![...volumes, ...claims].includes(name)).map((name) => `${at}: no volume ${name}`),
    ...pod.containers.flatMap((container) => commandFaults(container, at)),
  ];
}

function commandFaults({ args = [], env = [], image = '' }: V1Container, at: string): readonly string[] {
  const start = args.findIndex((word) => word.endsWith('main.ts'));
  const options = MAINS[args[start] ?? ''];
  if (options === undefined) return /temporal/.test(image) ? [] : [`${at}: no process of ours`];
  const values = env.map(({ name, value, valueFrom }) => [name, valueFrom === undefined ? value : 'from-the-pod']);
  const reading = readOptions(options, args.slice(start + 1), Object.fromEntries(values));
  return reading.kind === 'problems' ? reading.problems.map((problem) => `${at}: ${problem}`) : [];
}
