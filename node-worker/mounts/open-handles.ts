import { failureOf } from '../../contract/failures.ts';
import type { ContainerHandle, KernelEngine } from '../kernel/engine.ts';
import type { MountRecord } from '../state/mount-record.ts';

type Container = Pick<MountRecord, 'containerId' | 'init'>;

/** Undefined when the container is gone, and with it all that was changed in it. */
export async function openIfThere(
  { engine }: { readonly engine: Pick<KernelEngine, 'openContainer'> },
  { containerId, init }: Container,
): Promise<ContainerHandle | undefined> {
  try {
    return await engine.openContainer({ containerId, init });
  } catch (err) {
    if (failureOf(err)?.type === 'ContainerNotReady') return undefined;
    throw err;
  }
}

/** A container that was not found may only have been hard to find just then; to look for it walks the cgroups of the node. */
const LOOK_AGAIN_MS = 10_000;

/** Keeps a handle of each container that is looked at again and again. */
export class OpenHandles {
  readonly #engine: Pick<KernelEngine, 'openContainer'>;
  readonly #handles = new Map<string, ContainerHandle>();
  /** When a container that was not found is looked for again, by its id. */
  readonly #lookAgainAt = new Map<string, number>();

  constructor(engine: Pick<KernelEngine, 'openContainer'>) {
    this.#engine = engine;
  }

  /** Undefined when the container was not found at the last look for it, some seconds ago at most. */
  async of(container: Container, nowMs = performance.now()): Promise<ContainerHandle | undefined> {
    const { containerId } = container;
    const handle = this.#handles.get(containerId);
    if (handle?.isAlive()) return handle;
    handle?.close();
    this.#handles.delete(containerId);
    if (nowMs < (this.#lookAgainAt.get(containerId) ?? 0)) return undefined;
    const found = await openIfThere({ engine: this.#engine }, container);
    if (found === undefined) this.#lookAgainAt.set(containerId, nowMs + LOOK_AGAIN_MS);
    else this.#handles.set(containerId, found);
    return found;
  }

  /** Closes all others. */
  keepOnly(containerIds: { has(containerId: string): boolean }): void {
    for (const [containerId, handle] of this.#handles) {
      if (containerIds.has(containerId)) continue;
      handle.close();
      this.#handles.delete(containerId);
    }
    for (const containerId of this.#lookAgainAt.keys()) {
      if (!containerIds.has(containerId)) this.#lookAgainAt.delete(containerId);
    }
  }

  close(): void {
    this.keepOnly(new Set());
  }
}
