import { failureOf } from '../../contract/failures.ts';
import type { ContainerHandle, KernelEngine } from '../kernel/engine.ts';
import type { MountRecord } from '../state/mount-record.ts';

type Container = Pick<MountRecord, 'containerId' | 'init'>;

/** Undefined when the container is gone, and with it all that was changed in it. */
export function openIfThere(
  { engine }: { readonly engine: Pick<KernelEngine, 'openContainer'> },
  { containerId, init }: Container,
): ContainerHandle | undefined {
  try {
    return engine.openContainer({ containerId, init });
  } catch (err) {
    if (failureOf(err)?.type === 'ContainerNotReady') return undefined;
    throw err;
  }
}

/** Keeps a handle of each container that is looked at again and again: to find one anew walks the cgroups of the node. */
export class OpenHandles {
  readonly #engine: Pick<KernelEngine, 'openContainer'>;
  /** Undefined for a container that has ended: its id never comes back. */
  readonly #handles = new Map<string, ContainerHandle | undefined>();

  constructor(engine: Pick<KernelEngine, 'openContainer'>) {
    this.#engine = engine;
  }

  /** Undefined when the container has ended. */
  of(container: Container): ContainerHandle | undefined {
    const { containerId } = container;
    if (!this.#handles.has(containerId))
      this.#handles.set(containerId, openIfThere({ engine: this.#engine }, container));
    const handle = this.#handles.get(containerId);
    if (handle === undefined || handle.isAlive()) return handle;
    handle.close();
    this.#handles.set(containerId, undefined);
    return undefined;
  }

  /** Closes all others. */
  keepOnly(containerIds: { has(containerId: string): boolean }): void {
    for (const [containerId, handle] of this.#handles) {
      if (containerIds.has(containerId)) continue;
      handle?.close();
      this.#handles.delete(containerId);
    }
  }

  close(): void {
    this.keepOnly(new Set());
  }
}
