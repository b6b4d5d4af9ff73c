import { SLAVE_LABELS } from '../../contract/names.ts';
import { ask, listPath, send } from '../e2e/kube.ts';
import { pathOf } from '../e2e/pods.ts';
import type { Temporal } from '../e2e/temporal.ts';
import { until } from '../e2e/until.ts';
import { type Caller, NAMESPACE } from './calls.ts';
import { ClientLoop, type Outcome } from './client.ts';
import { Gate } from './gate.ts';
import type { History } from './history.ts';
import type { Random } from './random.ts';
import { TYPES } from './resources.ts';
import { ROLE_LABEL, type TargetPods, type TargetSpec } from './targets.ts';

export interface ClientsOptions {
  readonly nodes: readonly string[];
  readonly random: Random;
  readonly caller: Caller;
  readonly history: History;
  readonly temporal: Temporal;
  readonly targets: TargetPods;
}

/** The targets of each node: one only tries the device, two keep it open, one has a user namespace of its own. */
const KINDS = [
  { kind: 'plain', mode: 'open', userNamespace: false },
  { kind: 'holder', mode: 'hold', userNamespace: false },
  { kind: 'init', mode: 'init', userNamespace: false },
  { kind: 'user', mode: 'open', userNamespace: true },
] as const;

/** A client for each target, all going on side by side. */
export class Clients {
  readonly gate = new Gate();
  readonly #options: ClientsOptions;
  #loops: readonly ClientLoop[] = [];
  #running: readonly Promise<void>[] = [];

  constructor(options: ClientsOptions) {
    this.#options = options;
  }

  get outcomes(): readonly Outcome[] {
    return this.#loops.flatMap(({ outcomes }) => outcomes);
  }

  /** Starts the twins that are never given anything, and then the clients. */
  async begin(image: string): Promise<void> {
    const { nodes, targets, random, history } = this.#options;
    const twins = nodes.flatMap((node) =>
      [true, false].map((userNamespace): TargetSpec => ({ node, image, mode: 'idle', role: 'twin', userNamespace })),
    );
    await Promise.all(
      twins.map((spec) => targets.start(`twin-${spec.node}${spec.userNamespace ? '-user' : ''}`, spec)),
    );
    this.#loops = nodes.flatMap((node) =>
      KINDS.map(({ kind, ...more }) => {
        const name = `${kind}-${node}`;
        const spec: TargetSpec = { node, image, role: 'target', ...more };
        return new ClientLoop({ ...this.#options, name, spec, random: random.for(name), gate: this.gate });
      }),
    );
    this.#running = this.#loops.map((loop) =>
      loop.run().catch((err: unknown) => history.violation(`a client has stopped: ${String(err)}`)),
    );
  }

  /** Whether every client waits before the gate. */
  allWait(): boolean {
    return this.gate.waiting === this.#loops.length;
  }

  /** Lets the clients end where they are, and unmounts what is mounted then. */
  async end(): Promise<void> {
    this.abort();
    await Promise.all(this.#running);
    for (const pod of await podsWith(`${ROLE_LABEL}=target`))
      for (const type of TYPES) await send('PUT', pathOf(pod, 'unmount', '&force=1&wait_second=38', type));
  }

  abort(): void {
    for (const loop of this.#loops) loop.stop();
    this.gate.open();
  }

  /** Removes every pod of the checker, and waits until no slave is left. */
  async removePods(): Promise<void> {
    await Promise.all(this.#running);
    await until('the pods of the checker to be gone', async () => {
      const pods = await podsWith(ROLE_LABEL);
      await Promise.all(pods.map((pod) => this.#options.targets.remove(pod)));
      const slaves = await podsWith(`${SLAVE_LABELS.managedBy}=device-mounter`);
      return pods.length === 0 && slaves.length === 0;
    });
  }
}

async function podsWith(labelSelector: string): Promise<string[]> {
  const { items } = await ask<{ items: { metadata: { name: string } }[] }>(
    'GET',
    listPath(NAMESPACE, 'pods', { labelSelector }),
  );
  return items.map(({ metadata }) => metadata.name);
}
