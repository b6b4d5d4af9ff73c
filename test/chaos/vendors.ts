import { closeSync, openSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { KubeAnswer } from '../../deploy/local/kube-api.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { Npus } from '../device-plugin/npus.ts';
import { addNpuFiles, addVgpuFiles, npuTree, removeNpuFiles, removeVgpuFiles } from '../device-plugin/vendor-files.ts';
import { Vgpus } from '../device-plugin/vgpus.ts';
import { CLUSTER, NODES } from '../e2e/cluster.ts';
import { filesOf } from '../e2e/nodes.ts';
import { UUIDS } from '../node-worker/nvidia-tree.ts';
import { NAMESPACE } from './calls.ts';

/** kube-apiserver is away for seconds. */
const AGAIN_MS = 500;

/** GPUs and NPUs of every node, with schedulers and device plugins that go on whatever is done to the cluster. */
export class Vendors {
  readonly #nodes = NODES.map((node, index) => new VendorsOfNode(node, index));

  async start(): Promise<void> {
    for (const node of this.#nodes) await node.start();
  }

  /** Also of what has not started, or only half. */
  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.stop()));
  }
}

class VendorsOfNode {
  readonly #tree;
  readonly #node: ClusterNode;
  readonly #stop = new AbortController();
  /** Root directory of the node, which outlives the kubelet that it was found by. */
  #root: number | undefined;
  #doubles: readonly (Vgpus | Npus)[] = [];

  constructor(node: ClusterNode, index: number) {
    this.#node = node;
    this.#tree = npuTree(index, node.name);
  }

  async start(): Promise<void> {
    this.#root = openSync(filesOf(this.#node), 'r');
    const files = `/proc/${process.pid}/fd/${this.#root}`;
    addVgpuFiles(files, { minors: [1, 0], major: 195 });
    addNpuFiles(files, this.#tree);
    const options = { node: this.#node.name, namespace: NAMESPACE, files, send: this.#send };
    const gpus = Object.fromEntries(UUIDS.map((uuid) => [uuid, 2_000]));
    this.#doubles = [new Vgpus({ ...options, gpus, format: 'volcano' }), new Npus({ ...options, ...this.#tree })];
    for (const double of this.#doubles) await double.stay();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#doubles.map((double) => double.close()));
    if (this.#root === undefined) return;
    const files = `/proc/${process.pid}/fd/${this.#root}`;
    removeVgpuFiles(files);
    removeNpuFiles(files, this.#tree);
    closeSync(this.#root);
    this.#root = undefined;
  }

  /** Asks until kube-apiserver and its store answer, or nobody wants to know any more. */
  readonly #send = async (method: string, path: string, body?: unknown): Promise<KubeAnswer> => {
    for (;;) {
      const answer = await CLUSTER.api.send(method, path, body).catch(() => undefined);
      if (answer !== undefined && answer.status < 500 && answer.status !== 429) return answer;
      await pause(AGAIN_MS, undefined, { signal: this.#stop.signal });
    }
  };
}
