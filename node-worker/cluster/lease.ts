import { ApiException, CoordinationV1Api, type KubeConfig, type V1Lease, V1MicroTime } from '@kubernetes/client-node';
import { NODE_LEASE_SECONDS, nodeLease } from '../../contract/names.ts';

export interface LeaseOptions {
  readonly config: KubeConfig;
  readonly namespace: string;
  readonly node: string;
  readonly onError: (err: unknown) => void;
}

/** Shows that this node worker is alive: renews its Lease until stopped, three times in its duration. */
export class LeaseRenewal {
  readonly #options: LeaseOptions;
  readonly #api: CoordinationV1Api;
  #lease: V1Lease | undefined;
  #timer: NodeJS.Timeout | undefined;
  #renewing = false;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#api = options.config.makeApiClient(CoordinationV1Api);
  }

  start(): void {
    this.#tick();
    this.#timer ??= setInterval(() => this.#tick(), (NODE_LEASE_SECONDS * 1_000) / 3);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (this.#renewing) return;
    this.#renewing = true;
    this.#renew()
      .catch((err: unknown) => {
        this.#lease = undefined;
        this.#options.onError(err);
      })
      .finally(() => {
        this.#renewing = false;
      });
  }

  async #renew(): Promise<void> {
    const { namespace, node } = this.#options;
    const name = nodeLease(node);
    this.#lease ??= await this.#read(namespace, name);
    const spec = {
      holderIdentity: node,
      leaseDurationSeconds: NODE_LEASE_SECONDS,
      renewTime: new V1MicroTime(),
    };
    if (this.#lease === undefined) {
      const body = { metadata: { namespace, name }, spec: { ...spec, acquireTime: new V1MicroTime() } };
      this.#lease = await this.#api.createNamespacedLease({ namespace, body });
    } else {
      const body = { ...this.#lease, spec: { ...this.#lease.spec, ...spec } };
      this.#lease = await this.#api.replaceNamespacedLease({ namespace, name, body });
    }
  }

  async #read(namespace: string, name: string): Promise<V1Lease | undefined> {
    try {
      return await this.#api.readNamespacedLease({ namespace, name });
    } catch (err) {
      if (err instanceof ApiException && err.code === 404) return undefined;
      throw err;
    }
  }
}
