import { fail } from '../../contract/failures.ts';
import type { NodePlan } from './container-nodes.ts';
import type { ContainerPlace } from './container-root.ts';
import type { DeviceNode, FilesPlan, GrantedDevice, GrantedFile, HostFile } from './engine.ts';
import type { VgpuLimits } from './gpu-limits.ts';
import type { HelperPool } from './helper-pool.ts';
import type { Answer, NodeId, NodesPlaced, Question, Steps } from './helper-steps.ts';
import type { UserLook, UsersSeen } from './look-for-users.ts';
import type { IfLocked } from './region-file.ts';

/** Of no container: looks at many at once. */
const TOGETHER = 'many at once';
/** A hundred times what a hundred containers take: those that make it longer are asked apart from then on. */
const TOGETHER_MS = 1_000;

interface Pending {
  readonly place: ContainerPlace;
  readonly question: Question;
  readonly settled: PromiseWithResolvers<Answer>;
}

/**
 * The files and processes of containers, as helper processes see and change them. Every method throws `ContainerStuck` when
 * the container does not answer in time, and `ContainerNotReady` once it has ended.
 */
export class TenantFiles {
  readonly #helpers: HelperPool;
  readonly #togetherMs: number;
  #pending: Pending[] = [];

  /** @param togetherMs how long many containers may take to answer together */
  constructor(helpers: HelperPool, togetherMs = TOGETHER_MS) {
    this.#helpers = helpers;
    this.#togetherMs = togetherMs;
  }

  /** What a grant will find and make. Throws `ContainerUnsupported`. */
  planNodes(place: ContainerPlace, devices: readonly DeviceNode[]): Promise<readonly NodePlan[]> {
    return this.#ask(place, 'planNodes', placeOf(place), devices);
  }

  /** Makes them. Idempotent. Throws `ContainerUnsupported`. */
  placeNodes(place: ContainerPlace, devices: readonly DeviceNode[]): Promise<NodesPlaced> {
    return this.#ask(place, 'placeNodes', placeOf(place), devices);
  }

  /** Undo of `placeNodes`. Resolves to the paths of the nodes that were there. */
  takeNodes(place: ContainerPlace, devices: readonly GrantedDevice[]): Promise<readonly string[]> {
    return this.#ask(place, 'takeNodes', placeOf(place), devices);
  }

  /** Where files will go. Throws `ContainerUnsupported`, `NotFound`, `Invalid`. */
  planFiles(place: ContainerPlace, files: readonly HostFile[]): Promise<FilesPlan> {
    return this.#ask(place, 'planFiles', placeOf(place), files);
  }

  /** Mounts them. Idempotent. Resolves to the paths of those that were not there. Throws `ContainerUnsupported`. */
  placeFiles(place: ContainerPlace, files: readonly GrantedFile[]): Promise<readonly string[]> {
    return this.#ask(place, 'placeFiles', placeOf(place), files);
  }

  /** Undo of `placeFiles`. Resolves to the paths of those that were there. */
  takeFiles(place: ContainerPlace, files: readonly GrantedFile[]): Promise<readonly string[]> {
    return this.#ask(place, 'takeFiles', placeOf(place), files);
  }

  /** Gives its vGPUs these limits. Resolves to whether they had others. Throws `ContainerUnsupported`. */
  setLimits(place: ContainerPlace, { region, limits }: VgpuLimits, ifLocked: IfLocked): Promise<boolean> {
    return this.#ask(place, 'setLimits', placeOf(place), region, limits, ifLocked);
  }

  /** Whether they have them, or the container has spoilt the file that says so. */
  hasLimits(place: ContainerPlace, { region, limits }: VgpuLimits): Promise<boolean> {
    return this.#ask(place, 'hasLimits', placeOf(place), region, limits);
  }

  /** Device nodes below its /dev, without their access. */
  nodesBelowDev(place: ContainerPlace): Promise<readonly DeviceNode[]> {
    return this.#ask(place, 'nodesBelowDev', placeOf(place));
  }

  /** Whether there is a file at one of these paths. */
  hasAnyFile(place: ContainerPlace, paths: readonly string[]): Promise<boolean> {
    return this.#ask(place, 'hasAnyFile', placeOf(place), paths);
  }

  /** Of its processes the one that started first; undefined when all of them have ended. */
  async initOf(containerId: string, pids: readonly number[]): Promise<number | undefined> {
    return (await this.#ask({ containerId }, 'initOf', pids)) ?? undefined;
  }

  /** Processes that hold a device. */
  lookForUsers(place: ContainerPlace, look: UserLook): Promise<UsersSeen> {
    return this.#ask(place, 'lookForUsers', look);
  }

  /**
   * Whether the container sees the right node at each path, and each of the files. Asked of all containers every second, and so of all together:
   * each turn between processes costs more than the look.
   */
  async hasNodes(
    place: ContainerPlace,
    devices: readonly DeviceNode[],
    files: readonly GrantedFile[] = [],
  ): Promise<boolean> {
    const question: Question = ['hasNodes', placeOf(place), devices.map(idOf), ...(files.length > 0 ? [files] : [])];
    const settled = Promise.withResolvers<Answer>();
    this.#pending.push({ place, question, settled });
    if (this.#pending.length === 1) setImmediate(() => void this.#askTogether());
    return resultOf<'hasNodes'>(await settled.promise);
  }

  async #askTogether(): Promise<void> {
    const [slow, quick] = [this.#pending.filter(this.#isSlow), this.#pending.filter((one) => !this.#isSlow(one))];
    this.#pending = [];
    const answers = quick.length > 1 ? await this.#askAll(quick) : [];
    quick.forEach((one, index) => this.#settle(one, answers[index]));
    for (const one of slow) this.#settle(one, undefined);
  }

  readonly #isSlow = ({ place }: Pending): boolean => this.#helpers.isSlow(place.containerId);

  /** Nothing when one of them keeps the helper waiting: then each is asked apart. */
  async #askAll(quick: readonly Pending[]): Promise<readonly Answer[]> {
    if (this.#helpers.isStuck(TOGETHER)) return [];
    const line = JSON.stringify(quick.map(({ question }) => question));
    try {
      return JSON.parse(await this.#helpers.ask(TOGETHER, line, this.#togetherMs)) as readonly Answer[];
    } catch {
      return [];
    }
  }

  #settle({ place, question, settled }: Pending, answer: Answer | undefined): void {
    settled.resolve(answer ?? this.#answer(place, question));
  }

  async #ask<K extends keyof Steps>(
    place: Pick<ContainerPlace, 'containerId'>,
    step: K,
    ...args: Parameters<Steps[K]>
  ): Promise<ReturnType<Steps[K]>> {
    return resultOf<K>(await this.#answer(place, [step, ...args]));
  }

  async #answer({ containerId }: Pick<ContainerPlace, 'containerId'>, question: Question): Promise<Answer> {
    const line = await this.#helpers.ask(containerId, JSON.stringify([question]));
    const [answer] = JSON.parse(line) as readonly [Answer];
    return answer;
  }
}

function resultOf<K extends keyof Steps>(answer: Answer): ReturnType<Steps[K]> {
  if ('refused' in answer) throw fail(answer.refused.type, answer.refused.message);
  if ('failed' in answer) throw new HelperError(answer.failed.message, answer.failed.code);
  return answer.result as ReturnType<Steps[K]>;
}

const idOf = ({ path, type, major, minor }: DeviceNode): NodeId => ({ path, type, major, minor });

/** A failed call in a helper process. `code` is the name of errno, if it was the kernel's. */
class HelperError extends Error {
  override readonly name = 'HelperError';
  readonly code: string | undefined;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.code = code;
  }
}

/** Only what a helper needs of a handle. */
const placeOf = ({ containerId, pid, startTime }: ContainerPlace): ContainerPlace => ({
  containerId,
  pid,
  ...(startTime !== undefined && { startTime }),
});
