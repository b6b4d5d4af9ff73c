import {
  Client,
  type ConnectionLike,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { fail } from '../contract/failures.ts';
import { clusterWorkflowId, controlQueue } from '../contract/names.ts';
import { WORKFLOWS } from '../contract/workflows.ts';
import type { ClusterIdentity } from './cluster-identity.ts';

/** Key of the memo that holds the UID of namespace `kube-system`. */
const UID_MEMO = 'kubeSystemUid';

/** How long an answer of Temporal is believed, so that hardly a request waits for one. */
const CONFIRMED_MS = 10_000;

/** Others that claim and give up a name at the same moment are few. */
const TRIES = 4;

/** In Temporal the name of this cluster is another cluster's. */
export class NameOfAnotherCluster extends Error {
  override readonly name = 'NameOfAnotherCluster';

  constructor({ name, uid }: ClusterIdentity, holder: string) {
    super(
      `Cannot use cluster name "${name}": in Temporal it belongs to the cluster whose namespace kube-system has UID ${holder}, ` +
        `this one's has UID ${uid}. Choose another --cluster-name. If this cluster replaces the other one, stop device-mounter ` +
        `there, and take the name over with: temporal workflow terminate --workflow-id ${clusterWorkflowId(name)}`,
    );
  }
}

export interface ClaimPlace {
  readonly connection: ConnectionLike;
  /** Temporal namespace. */
  readonly namespace: string;
}

/**
 * The name of this cluster in Temporal: an open workflow whose ID is the name. Its memo holds the UID of `kube-system`, never encrypted, so
 * that a cluster with other payload keys can read whose the name is.
 */
export class ClusterClaim {
  readonly #identity: () => Promise<ClusterIdentity>;
  readonly #client: Client;
  #confirmedAtMs = Number.NEGATIVE_INFINITY;

  /** `identity` rejects while kube-apiserver has not been reached yet. */
  constructor(identity: () => Promise<ClusterIdentity>, place: ClaimPlace) {
    this.#identity = identity;
    this.#client = new Client({ ...place });
  }

  async name(): Promise<string> {
    return (await this.#identity()).name;
  }

  /**
   * Makes the name this cluster's, if it is nobody's. Of several that try at once Temporal lets one succeed. Asks Temporal
   * nothing when its last answer is not older than `maxAgeMs`.
   * @throws NameOfAnotherCluster, and errors of the connection
   */
  async claim(maxAgeMs = CONFIRMED_MS): Promise<void> {
    if (performance.now() - this.#confirmedAtMs < maxAgeMs) return;
    const identity = await this.#identity();
    for (let tries = 0; tries < TRIES; tries += 1) {
      if ((await this.#isOurs(identity)) || (await this.#begun(identity))) return;
    }
    throw fail('TemporalUnavailable', `Cannot claim cluster name "${identity.name}": others claim it at this moment`);
  }

  /**
   * The same for those of whom there are many: leaves the claim to the apiserver and the control worker.
   * @throws also TemporalUnavailable while the name is nobody's
   */
  async confirm(maxAgeMs = CONFIRMED_MS): Promise<void> {
    if (performance.now() - this.#confirmedAtMs < maxAgeMs) return;
    const identity = await this.#identity();
    if (await this.#isOurs(identity)) return;
    const who = 'the control worker does that when it starts';
    throw fail('TemporalUnavailable', `Cannot use cluster name "${identity.name}": it is not claimed yet, ${who}`);
  }

  async #begun({ name, uid }: ClusterIdentity): Promise<boolean> {
    try {
      await this.#client.workflow.start(WORKFLOWS.claimCluster, {
        workflowId: clusterWorkflowId(name),
        workflowIdConflictPolicy: 'FAIL',
        taskQueue: controlQueue(name),
        memo: { [UID_MEMO]: uid },
        staticSummary: `kube-system ${uid}`,
      });
    } catch (err) {
      if (err instanceof WorkflowExecutionAlreadyStartedError) return false;
      throw err;
    }
    this.#confirmedAtMs = performance.now();
    return true;
  }

  /** False when the name is nobody's. @throws NameOfAnotherCluster */
  async #isOurs(identity: ClusterIdentity): Promise<boolean> {
    const holder = await this.#holderOf(identity.name);
    if (holder === undefined) return false;
    if (holder !== identity.uid) throw new NameOfAnotherCluster(identity, holder);
    this.#confirmedAtMs = performance.now();
    return true;
  }

  async #holderOf(name: string): Promise<string | undefined> {
    try {
      const { status, memo } = await this.#client.workflow.getHandle(clusterWorkflowId(name)).describe();
      return status.name === 'RUNNING' ? String(memo?.[UID_MEMO]) : undefined;
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return undefined;
      throw err;
    }
  }
}
