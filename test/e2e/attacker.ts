import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { controlQueue, mountWorkflowId } from '../../contract/names.ts';
import type { MountRequest, Signed, UnmountRequest } from '../../contract/requests.ts';
import { signRequest } from '../../contract/signature.ts';
import { CLUSTER_NAME } from '../../deploy/local/addresses.ts';
import { failureFrom } from '../workflows/outcome.ts';
import { CLUSTER } from './cluster.ts';

const QUEUE = 'attacker';
const { privateKey } = generateKeyPairSync('ed25519');

/** Somebody who may do everything with Temporal and nothing else: reads histories, starts workflows, has a worker of their own. */
export class Attacker {
  readonly #client: Client;
  readonly #connection: NativeConnection;
  readonly #worker: Worker;
  readonly #done: Promise<void>;

  private constructor(client: Client, connection: NativeConnection, worker: Worker) {
    this.#client = client;
    this.#connection = connection;
    this.#worker = worker;
    this.#done = worker.run();
  }

  static async start(client: Client): Promise<Attacker> {
    // Every refusal would be a warning.
    Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });
    const connection = await NativeConnection.connect({ address: CLUSTER.temporalAddress });
    const workflowsPath = join(import.meta.dirname, '..', 'workflows', 'attack-workflow.ts');
    return new Attacker(client, connection, await Worker.create({ connection, taskQueue: QUEUE, workflowsPath }));
  }

  async stop(): Promise<void> {
    this.#worker.shutdown();
    await this.#done;
    await this.#connection.close();
  }

  /** What the apiserver has signed for a mount, as its history shows it. */
  async stolenRequest(name: string): Promise<Signed<MountRequest>> {
    const { events } = await this.#client.workflow
      .getHandle(mountWorkflowId(CLUSTER_NAME, 'default', name))
      .fetchHistory();
    const [payload] = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads ?? [];
    if (payload === undefined || payload === null) throw new Error(`Cannot find the input of mount ${name}`);
    return defaultPayloadConverter.fromPayload<Signed<MountRequest>>(payload);
  }

  /** Has an activity run on any task queue. Answers the type of its failure, or `none`. */
  async runs(activity: string, input: unknown, taskQueue = controlQueue(CLUSTER_NAME)): Promise<string> {
    const args = [taskQueue, activity, input];
    const running = this.#client.workflow.execute('runActivity', {
      workflowId: `attack/${randomUUID()}`,
      taskQueue: QUEUE,
      args,
    });
    return (await failureFrom(running)).type;
  }

  /** Starts a workflow of the product. Answers the type of its failure, or `none`. */
  async starts(workflow: string, workflowId: string, ...args: readonly unknown[]): Promise<string> {
    const running = this.#client.workflow.execute(workflow, {
      workflowId,
      taskQueue: controlQueue(CLUSTER_NAME),
      args: [...args],
    });
    return (await failureFrom(running)).type;
  }
}

/** Signed by somebody else than the apiserver. */
export function forged<R extends MountRequest | UnmountRequest>(request: R): Signed<R> {
  return signRequest(request, privateKey);
}
