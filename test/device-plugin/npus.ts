import type { Granted, Offered } from './foreign-plugin.ts';
import { type Choice, hasEnded, limitOf, type Pod, podsIn } from './volcano-scheduler.ts';
import { type VendorOptions, VolcanoVendor } from './volcano-vendor.ts';

interface Options extends VendorOptions {
  /** Numbers of whole NPUs: `/dev/davinci<N>`. */
  readonly npus: readonly [number, number];
  /** Number of a virtual one, which is part of the first: `/dev/vdavinci<N>`. */
  readonly virtual: number;
  /** Folder of the host with the nodes that all NPUs share. */
  readonly sharedFolder: string;
}

/** Those that the kubelet chooses, and those that Volcano does: a plugin has one way for all, so these would be of two boards. */
export const WHOLE = 'huawei.com/Ascend910';
export const VIRTUAL = 'huawei.com/Ascend910-2c';
export const BY_VOLCANO = 'huawei.com/Ascend310P';
/** Host name and container name of what they share. */
export const SHARED = {
  davinci_manager_docker: 'davinci_manager',
  devmm_svm: 'devmm_svm',
  hisi_hdc: 'hisi_hdc',
} as const;

const TIME = 'predicate-time';
const DONE = String(2n ** 64n - 1n);

/**
 * Ascend Device Plugin without Ascend Docker Runtime (`-useAscendDocker=false`), with Volcano's scheduler for one resource: then the
 * plugin gives the NPU that the scheduler has written on the pod, and writes there which one the kubelet has picked, and which it has really given
 * (ascend-device-plugin, pkg/server/plugin.go, pkg/device/ascendcommon.go).
 */
export class Npus extends VolcanoVendor {
  readonly #options: Options;

  constructor(options: Options) {
    super(options);
    this.#options = options;
  }

  protected offered(): readonly Offered[] {
    const { npus, virtual } = this.#options;
    return [
      {
        resource: WHOLE,
        ids: npus.map((npu) => `Ascend910-${npu}`),
        grant: (ids) => this.#nodesOf(ids.map((id) => `davinci${id.split('-')[1]}`)),
      },
      {
        resource: VIRTUAL,
        ids: [`Ascend910-2c-${virtual}-${npus[0]}`],
        grant: () => this.#nodesOf([`vdavinci${virtual}`]),
      },
      // The kubelet knows of one only, so that it picks another than the scheduler.
      { resource: BY_VOLCANO, ids: [`Ascend310P-${npus[0]}`], grant: (ids) => this.#grant(ids) },
    ];
  }

  /** The second, if no pod has it. */
  protected choose(pod: Pod, others: readonly Pod[]): Choice {
    if (limitOf(pod, BY_VOLCANO) === 0) return undefined;
    const isTaken = others.some((other) => !hasEnded(other) && other.metadata.annotations?.[BY_VOLCANO] !== undefined);
    if (isTaken) return `0/1 nodes are available: 1 Insufficient ${BY_VOLCANO}.`;
    return { [BY_VOLCANO]: `Ascend310P-${this.#options.npus[1]}`, [TIME]: String(Date.now()) };
  }

  async #grant(picked: readonly string[]): Promise<Granted> {
    const { namespace, node, send } = this.#options;
    const pods = await podsIn(namespace, send);
    const pod = pods.find(({ metadata: { annotations = {} }, spec }) => {
      const isNew = annotations[BY_VOLCANO] !== undefined && annotations[TIME] !== DONE;
      return isNew && spec.nodeName === node;
    });
    const real = pod?.metadata.annotations?.[BY_VOLCANO];
    if (pod === undefined || real === undefined) throw new Error('no pod waits for an NPU');
    const annotations = { [TIME]: DONE, 'huawei.com/kltDev': picked.join(','), 'huawei.com/AscendReal': real };
    await send('PATCH', `/api/v1/namespaces/${namespace}/pods/${pod.metadata.name}`, { metadata: { annotations } });
    return this.#nodesOf([`davinci${real.split('-')[1]}`]);
  }

  #nodesOf(npus: readonly string[]): Granted {
    const { sharedFolder } = this.#options;
    const shared = Object.entries(SHARED).map(([from, name]) => specOf(`${sharedFolder}/${from}`, name));
    return { devices: [...shared, ...npus.map((npu) => specOf(`/dev/${npu}`, npu.replace(/^v/, '')))] };
  }
}

const specOf = (hostPath: string, name: string) => ({ hostPath, containerPath: `/dev/${name}`, permissions: 'rw' });
