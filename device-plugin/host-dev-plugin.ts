import type { Logger } from 'pino';
import type { HostDev } from './devs.ts';
import { ResourcePlugin, type ResourceSettings } from './resource-plugin.ts';

export interface HostDevPluginOptions extends ResourceSettings {
  readonly devs: readonly HostDev[];
  readonly log: Logger;
  /** How often the device files and the sockets are looked at, in milliseconds: a few stat calls. Nodes run out of inotify. */
  readonly pollMs: number;
}

/** Serves all resources until closed. */
export class HostDevPlugin {
  readonly #plugins: readonly ResourcePlugin[];
  readonly #timer: NodeJS.Timeout;

  constructor(options: HostDevPluginOptions) {
    this.#plugins = options.devs.map((dev) => new ResourcePlugin(dev, options, options.log));
    this.#timer = setInterval(() => this.#look(), options.pollMs);
    this.#look();
  }

  /** True when the kubelet follows every resource. */
  get registered(): boolean {
    return this.#plugins.every((plugin) => plugin.registered);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#plugins.map((plugin) => plugin.close()));
  }

  #look(): void {
    for (const plugin of this.#plugins) plugin.look();
  }
}
