import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { answerOfShares, folderOf, SLAVE, sharesIn, VGPU, type VgpuShare, wordOfShares } from '../node-worker/vgpu.ts';
import type { Granted, Offered } from './foreign-plugin.ts';
import { type Choice, hasEnded, limitIn, limitOf, type Pod, podsIn } from './volcano-scheduler.ts';
import { type VendorOptions, VolcanoVendor } from './volcano-vendor.ts';

/** How schedulers tell on which GPUs they have put a pod: Volcano, a fork of it that counts containers, and HAMi. */
export const FORMATS = {
  volcano: { key: 'volcano.sh/vgpu-ids-new', wordOf: wordOfShares },
  fork: { key: 'volcano.sh/vgpu-ids-new', wordOf: (shares) => wordOfShares(shares).replaceAll('GPU-', '0,GPU-') },
  hami: { key: 'hami.io/vgpu-devices-allocated', wordOf: (shares) => `${wordOfShares(shares)};` },
} as const satisfies Record<
  string,
  { readonly key: string; readonly wordOf: (shares: readonly VgpuShare[]) => string }
>;

interface Options extends VendorOptions {
  /** UUID → MiB. */
  readonly gpus: Readonly<Record<string, number>>;
  readonly format: keyof typeof FORMATS;
  /** What NVIDIA's runtime gives a container that is started with these GPUs. Slaves need nothing. */
  readonly nodesOf?: (uuids: readonly string[]) => Granted['devices'];
}

const NODE = 'volcano.sh/vgpu-node';
const TIME = 'volcano.sh/vgpu-time';
const TO_ALLOCATE = 'volcano.sh/devices-to-allocate';
const PHASE = 'volcano.sh/bind-phase';
/** By default ten; the kubelet's pick means nothing. */
const SPLIT = 4;

/**
 * Volcano's scheduler and its device plugin for the vGPUs of one node: the scheduler writes on a pod which GPUs it has chosen, the
 * plugin finds the pod by that and answers for it (volcano, pkg/scheduler/api/devices/nvidia/vgpu/device_info.go;
 * volcano-vgpu-device-plugin, pkg/plugin/server.go). The plugin names memory to the kubelet; that there are cores, and percents of
 * memory, only the scheduler knows.
 */
export class Vgpus extends VolcanoVendor {
  readonly #options: Options;

  constructor(options: Options) {
    super(options);
    this.#options = options;
  }

  protected offered(): readonly Offered[] {
    const gpus = Object.entries(this.#options.gpus);
    return [
      {
        resource: VGPU,
        ids: gpus.flatMap(([uuid]) => numbered(SPLIT, (index) => `${uuid}-${index}`)),
        grant: (picked) => this.#grant(picked.length),
      },
      {
        resource: 'volcano.sh/vgpu-memory',
        ids: gpus.flatMap(([uuid, memory]) => numbered(memory, (index) => `${uuid}-memory-${index}`)),
        grant: () => ({}),
      },
    ];
  }

  protected choose(pod: Pod, others: readonly Pod[]): Choice {
    const { gpus, format, node } = this.#options;
    const count = limitOf(pod, VGPU);
    if (count === 0) return undefined;
    const { key, wordOf } = FORMATS[format];
    const taken = others
      .filter((other) => !hasEnded(other))
      .flatMap(({ metadata }) => sharesIn(metadata.annotations?.[key] ?? ''));
    const fitting = Object.entries(gpus)
      .map(([uuid, total]) => ({ total, share: shareOf(pod, uuid, total) }))
      .filter(({ total, share }) => isWelcome(pod, share.uuid) && share.memory <= total - memoryOn(share.uuid, taken))
      .map(({ share }) => share);
    if (fitting.length < count) return `0/1 nodes are available: 1 Insufficient ${VGPU}.`;
    const shares = fitting.slice(0, count);
    const now = String(Math.floor(Date.now() / 1_000));
    return {
      [NODE]: node,
      [TIME]: now,
      [key]: wordOf(shares),
      [TO_ALLOCATE]: wordOfShares(shares),
      [PHASE]: 'allocating',
      'volcano.sh/bind-time': now,
    };
  }

  /** For the pod that has waited longest for so many. */
  async #grant(count: number): Promise<Granted> {
    const { namespace, node, files, send, nodesOf } = this.#options;
    const pods = await podsIn(namespace, send);
    const [pod] = pods
      .filter(({ metadata }) => metadata.annotations?.[NODE] === node)
      .filter(({ metadata }) => sharesIn(metadata.annotations?.[TO_ALLOCATE] ?? '').length === count)
      .toSorted((one, other) => timeOf(one) - timeOf(other));
    if (pod === undefined) throw new Error(`no pod waits for ${count} vGPUs`);
    const { name, uid, annotations } = pod.metadata;
    const container = pod.spec.containers.find((one) => limitIn(one, VGPU) > 0)?.name ?? '';
    const folder = join(files, folderOf(uid, container));
    rmSync(folder, { recursive: true, force: true });
    makeFolder(folder);
    makeFolder(join(files, '/tmp/vgpulock'));
    await send('PATCH', `/api/v1/namespaces/${namespace}/pods/${name}`, {
      metadata: { annotations: { [TO_ALLOCATE]: '', [PHASE]: 'success', [TIME]: String(2n ** 64n - 1n) } },
    });
    const shares = sharesIn(annotations?.[TO_ALLOCATE] ?? '');
    const devices = container === SLAVE ? [] : (nodesOf?.(shares.map(({ uuid }) => uuid)) ?? []);
    return { ...answerOfShares(uid, shares, container), devices };
  }
}

const numbered = (count: number, idOf: (index: number) => string): readonly string[] =>
  Array.from({ length: count }, (_, index) => idOf(index));

const timeOf = ({ metadata }: Pod): number => Number(metadata.annotations?.[TIME]);

function shareOf(pod: Pod, uuid: string, total: number): VgpuShare {
  const percentage = limitOf(pod, 'volcano.sh/vgpu-memory-percentage');
  const memory = limitOf(pod, 'volcano.sh/vgpu-memory');
  const byPercent = Math.floor((total * (percentage === 0 ? 100 : percentage)) / 100);
  return { uuid, memory: memory === 0 ? byPercent : memory, cores: limitOf(pod, 'volcano.sh/vgpu-cores') };
}

function isWelcome({ metadata: { annotations = {} } }: Pod, uuid: string): boolean {
  const [use, not] = ['nvidia.com/use-gpuuuid', 'nvidia.com/nouse-gpuuuid'].map((key) => annotations[key]);
  return (use === undefined || use.split(',').includes(uuid)) && !(not ?? '').split(',').includes(uuid);
}

const memoryOn = (uuid: string, shares: readonly VgpuShare[]): number =>
  shares.filter((share) => share.uuid === uuid).reduce((sum, { memory }) => sum + memory, 0);

/** Others' programs write there. */
function makeFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o777);
}
