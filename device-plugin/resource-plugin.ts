import { join } from 'node:path';
import type { Logger } from 'pino';
import type { HostDev } from './devs.ts';
import { register } from './registration.ts';
import { type FileIdentity, fileIdentity, isDevice, ResourceServer } from './resource-server.ts';

export interface Folders {
  /** Device plugin directory of the kubelet. */
  readonly pluginDir: string;
  /** Where the host's /dev is seen. */
  readonly devRoot: string;
}

/** Keeps one resource served and registered, whatever the kubelet does. */
export class ResourcePlugin {
  readonly #dev: HostDev;
  readonly #folders: Folders;
  readonly #log: Logger;
  #server: ResourceServer | undefined;
  /** The kubelet's socket at the last registration. */
  #registeredAt: FileIdentity | undefined;
  #looksWithoutWatcher = 0;
  #lastProblem = '';

  constructor(dev: HostDev, folders: Folders, log: Logger) {
    this.#dev = dev;
    this.#folders = folders;
    this.#log = log.child({ resource: dev.resource });
  }

  get registered(): boolean {
    return this.#registeredAt !== undefined && (this.#server?.watcherCount ?? 0) > 0;
  }

  /** Compares what is with what should be, and mends it. A problem is logged when it is new and tried again next time. */
  async ensureServed(): Promise<void> {
    try {
      const healthy = isDevice(join(this.#folders.devRoot, this.#dev.path.slice('/dev/'.length)));
      this.#server?.setHealthy(healthy);
      const kubelet = fileIdentity(this.#kubeletSocket);
      if (kubelet === undefined) {
        this.#registeredAt = undefined;
        throw new Error(`there is no ${this.#kubeletSocket}: the kubelet is not running`);
      }
      if (this.#mustServeAgain(kubelet)) await this.#serve(kubelet, healthy);
      this.#lastProblem = '';
    } catch (err) {
      const problem = err instanceof Error ? err.message : String(err);
      if (problem !== this.#lastProblem) this.#log.warn({ err }, 'not registered with the kubelet');
      this.#lastProblem = problem;
    }
  }

  close(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  get #kubeletSocket(): string {
    return join(this.#folders.pluginDir, 'kubelet.sock');
  }

  #mustServeAgain(kubelet: FileIdentity): boolean {
    if (this.#server === undefined || !this.#server.reachable || this.#registeredAt !== kubelet) return true;
    // A kubelet that registers us anew opens the new stream before or after it ends the old: look twice.
    this.#looksWithoutWatcher = this.#server.watcherCount > 0 ? 0 : this.#looksWithoutWatcher + 1;
    return this.#looksWithoutWatcher > 2;
  }

  async #serve(kubelet: FileIdentity, healthy: boolean): Promise<void> {
    this.#registeredAt = undefined;
    this.#looksWithoutWatcher = 0;
    // A closing server removes its socket file: close the old one before the new one listens.
    this.close();
    const server = new ResourceServer(this.#dev, healthy);
    const endpoint = `${this.#dev.resource.replaceAll('/', '_')}.sock`;
    await server.listen(join(this.#folders.pluginDir, endpoint));
    this.#server = server;
    await register(this.#kubeletSocket, endpoint, this.#dev.resource);
    this.#registeredAt = kubelet;
    this.#log.info({ devices: this.#dev.ids.length, healthy }, 'registered with the kubelet');
  }
}
