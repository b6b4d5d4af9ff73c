import type { Client } from '@temporalio/client';
import { temporalOwners } from '../../activities/owners.ts';
import { PodWatch } from '../../activities/pod-watch.ts';
import { SchedulingTeller } from '../../activities/scheduling-teller.ts';
import { SLAVE_SELECTOR } from '../../activities/slave-pod.ts';
import { tellOwners } from '../../activities/tell-owners.ts';
import { TargetWatch } from '../../activities/watch-targets.ts';
import type { MemoryCluster } from './memory-cluster.ts';

/** Errors of watches, which tests see by what follows from them. */
function ignore(): void {}

/** What the process of a control worker follows, and tells owners of, beside its steps: it ends with that process. */
export class ControlWatches {
  readonly slaves: PodWatch;
  readonly targets: TargetWatch;
  readonly #scheduling: SchedulingTeller;
  readonly #stopTelling: () => void;

  constructor(cluster: MemoryCluster, client: Client, clusterName: string) {
    const owners = temporalOwners(client, clusterName);
    this.slaves = new PodWatch({ cluster, labels: SLAVE_SELECTOR, onError: ignore });
    this.targets = new TargetWatch({ cluster, slaves: this.slaves, owners, onError: ignore });
    this.#stopTelling = tellOwners(this.slaves, owners, ignore);
    this.#scheduling = new SchedulingTeller(this.slaves, owners, ignore);
    this.slaves.start();
  }

  async stop(): Promise<void> {
    this.#stopTelling();
    this.#scheduling.stop();
    await this.targets.stop();
    await this.slaves.stop();
  }
}
