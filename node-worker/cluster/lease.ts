import { z } from 'zod';
import { NODE_LEASE_SECONDS, nodeLease } from '../../contract/names.ts';
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

/** Shows that this node worker is alive: renews its Lease until stopped, three times in its duration. */
export class LeaseRenewal {
  readonly #options: LeaseOptions;
  readonly #folder: string;
  #lease: Lease | undefined;
  #timer: NodeJS.Timeout | undefined;
  #renewing = false;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#folder = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(options.namespace)}/leases`;
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
    const { api, namespace, node } = this.#options;
    const name = nodeLease(node);
    const path = `${this.#folder}/${name}`;
    this.#lease ??= LEASE.optional().parse(await api.get(path));
    const renewTime = microTime(new Date());
    const spec = { holderIdentity: node, leaseDurationSeconds: NODE_LEASE_SECONDS, renewTime };
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
