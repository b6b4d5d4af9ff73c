import type { Logger } from 'pino';
import type { HostDev } from './devs.ts';
import { ResourcePlugin, type ResourceSettings } from './resource-plugin.ts';

export interface HostDevPluginOptions extends ResourceSettings {
  /** What to offer now; asked at each look. */
  readonly devs: () => readonly HostDev[];
  readonly log: Logger;
  /** How often the device files and the sockets are looked at, in milliseconds: a few stat calls. Nodes run out of inotify. */
  readonly pollMs: number;
}

/** Serves all resources until closed. */
export class HostDevPlugin {
  readonly #options: HostDevPluginOptions;
  readonly #plugins = new Map<string, ResourcePlugin>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: HostDevPluginOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), options.pollMs);
    this.#look();
  }

  /** True when the kubelet follows every resource. */
  get registered(): boolean {
    return [...this.#plugins.values()].every((plugin) => plugin.registered);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#plugins.values()].map((plugin) => plugin.close()));
  }

  /** A resource that stays keeps its stream, whatever else of the configuration has changed. */
  #look(): void {
    const { devs, log } = this.#options;
    const wanted = new Map(devs().map((dev) => [dev.resource, dev]));
    for (const [resource, plugin] of this.#plugins) {
      if (wanted.has(resource)) continue;
      this.#plugins.delete(resource);
      log.info({ resource }, 'no longer offered');
      void plugin.close().then(() => this.#plugins.has(resource) || this.#options.metrics.forget(resource));
    }
    for (const [resource, dev] of wanted) {
      const plugin = this.#plugins.get(resource) ?? new ResourcePlugin(dev, this.#options, log);
      this.#plugins.set(resource, plugin);
      plugin.look(dev);
    }
  }
}
