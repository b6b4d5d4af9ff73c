import { z } from 'zod';
import { NODE_LEASE_SECONDS, NODE_RESTART_SECONDS, nodeLease } from '../../contract/names.ts';
import type { KubeApi } from '../../process/kube-api.ts';

export interface LeaseOptions {
  readonly api: KubeApi;
  readonly namespace: string;
  readonly node: string;
  readonly onError: (err: unknown) => void;
}

/** A coordination.k8s.io/v1 Lease; what is not known here is sent back as it came. */
const LEASE = z.looseObject({ spec: z.looseObject({}).optional() });
type Lease = z.infer<typeof LEASE>;

/** Shows that this node worker is alive: renews its Lease until it is stopped, three times in its duration. */
export class LeaseRenewal {
  readonly #options: LeaseOptions;
  readonly #folder: string;
  #lease: Lease | undefined;
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#folder = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(options.namespace)}/leases`;
  }

  start(): void {
    this.#tick();
    this.#timer ??= setInterval(() => this.#tick(), (NODE_LEASE_SECONDS * 1_000) / 3);
  }

  /** Renews it for the last time, for as long as the next node worker may take to be there. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
    await this.#renew(NODE_RESTART_SECONDS);
  }

  #tick(): void {
    this.#renewing ??= this.#renew(NODE_LEASE_SECONDS).finally(() => {
      this.#renewing = undefined;
    });
  }

  async #renew(seconds: number): Promise<void> {
    try {
      await this.#write(seconds);
    } catch (err) {
      this.#lease = undefined;
      this.#options.onError(err);
    }
  }

  async #write(leaseDurationSeconds: number): Promise<void> {
    const { api, namespace, node } = this.#options;
    const name = nodeLease(node);
    const path = `${this.#folder}/${name}`;
    this.#lease ??= LEASE.optional().parse(await api.get(path));
    const renewTime = microTime(new Date());
    const spec = { holderIdentity: node, leaseDurationSeconds, renewTime };
    if (this.#lease === undefined) {
      const kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
      const lease = { ...kind, metadata: { namespace, name }, spec: { ...spec, acquireTime: renewTime } };
      this.#lease = LEASE.parse(await api.send('POST', this.#folder, lease));
    } else {
      this.#lease = LEASE.parse(
        await api.send('PUT', path, { ...this.#lease, spec: { ...this.#lease.spec, ...spec } }),
      );
    }
  }
}

/** metav1.MicroTime: RFC 3339 with exactly six digits of a second. */
function microTime(date: Date): string {
  return date.toISOString().replace('Z', '000Z');
}
