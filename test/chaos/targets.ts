import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasCondition } from '../../deploy/local/kube-api.ts';
import { CLUSTER } from '../e2e/cluster.ts';
import { PODS, podPath } from '../e2e/pods.ts';
import { until } from '../e2e/until.ts';
import type { Run, Witnessed } from './witness/runs.ts';
import { readRuns } from './witness/runs.ts';

/** Of all pods of the checker: `target`, or `twin` for those that never get a device. */
export const ROLE_LABEL = 'chaos';

export interface TargetSpec {
  readonly node: string;
  readonly image: string;
  /** Of witness.c. */
  readonly mode: 'open' | 'hold' | 'init' | 'idle';
  readonly role: 'target' | 'twin';
  /** Whether its root is another user on the host: then it gets bind mounts in place of nodes. */
  readonly userNamespace: boolean;
}

interface Pod {
  readonly metadata: { readonly deletionTimestamp?: string };
}

/** Pods with a witness, each with a folder of its own that outlives it. */
export class TargetPods {
  readonly #folder: string;
  readonly #all = new Map<string, Witnessed>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Starts a pod, however often kube-apiserver has to be asked, and waits until it is ready. */
  async start(name: string, spec: TargetSpec, patienceMs = 180_000): Promise<void> {
    const folder = join(this.#folder, name);
    mkdirSync(folder, { recursive: true });
    // In a user namespace its root is not ours.
    chmodSync(folder, 0o777);
    this.#all.set(name, { pod: name, node: spec.node });
    const body = podOf(name, folder, spec);
    await until(
      `pod ${name} to be ready`,
      async () => {
        const pod = await CLUSTER.api.find(podPath(name));
        if (pod === undefined) await CLUSTER.api.send('POST', PODS, body).catch(() => undefined);
        return hasCondition(pod, 'Ready');
      },
      patienceMs,
    );
  }

  /** Whether it is still the one that was started, as far as kube-apiserver can be asked. */
  async isThere(name: string): Promise<boolean> {
    try {
      const { status, body } = await CLUSTER.api.send('GET', podPath(name));
      return status !== 404 && (status !== 200 || (body as Pod).metadata.deletionTimestamp === undefined);
    } catch {
      return true;
    }
  }

  /** Asks for its end. */
  async remove(name: string): Promise<void> {
    await until(`pod ${name} to be deleted`, async () => {
      const answer = await CLUSTER.api.send('DELETE', podPath(name)).catch(() => undefined);
      return answer !== undefined && (answer.status < 300 || answer.status === 404);
    });
  }

  /** What all witnesses have written down so far. */
  runs(): Run[] {
    return [...this.#all.values()].flatMap((each) => readRuns(join(this.#folder, each.pod), each));
  }

  runsOf(pod: string): Run[] {
    const witnessed = this.#all.get(pod);
    return witnessed === undefined ? [] : readRuns(join(this.#folder, pod), witnessed);
  }
}

function podOf(name: string, folder: string, { node, image, mode, role, userNamespace }: TargetSpec): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { [ROLE_LABEL]: role } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      tolerations: [{ operator: 'Exists' }],
      ...(userNamespace && { hostUsers: false }),
      containers: [
        {
          name: 'main',
          image,
          imagePullPolicy: 'Never',
          args: ['/log', mode],
          volumeMounts: [{ name: 'log', mountPath: '/log' }],
        },
      ],
      volumes: [{ name: 'log', hostPath: { path: folder, type: 'Directory' } }],
    },
  };
}
