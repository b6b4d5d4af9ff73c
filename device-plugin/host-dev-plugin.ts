import { type FSWatcher, watch } from 'node:fs';
import type { Logger } from 'pino';
import type { HostDev } from './devs.ts';
import { type Folders, ResourcePlugin } from './resource-plugin.ts';

export interface HostDevPluginOptions extends Folders {
  readonly devs: readonly HostDev[];
  readonly log: Logger;
  /** How often the device files and the kubelet's socket are looked at besides notifications, in milliseconds. */
  readonly pollMs: number;
}

/** Serves all resources until closed, and looks again when the device plugin directory changes. */
export class HostDevPlugin {
  readonly #plugins: readonly ResourcePlugin[];
  readonly #timer: NodeJS.Timeout;
  readonly #watcher: FSWatcher;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #closed = false;

  constructor(options: HostDevPluginOptions) {
    this.#plugins = options.devs.map((dev) => new ResourcePlugin(dev, options, options.log));
    this.#watcher = watch(options.pluginDir, () => this.#look());
    this.#watcher.on('error', (err) => options.log.warn({ err }, 'the directory is not watched, only polled'));
    this.#timer = setInterval(() => this.#look(), options.pollMs);
    this.#look();
  }

  /** True when the kubelet follows every resource. */
  get registered(): boolean {
    return this.#plugins.every((plugin) => plugin.registered);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#watcher.close();
    await this.#looking;
    for (const plugin of this.#plugins) plugin.close();
  }

  /** One look at a time; a change during a look makes another one. */
  #look(): void {
    if (this.#looking !== undefined) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = Promise.all(this.#plugins.map((plugin) => plugin.ensureServed())).then(() => {
      this.#looking = undefined;
      if (this.#lookAgain && !this.#closed) {
        this.#lookAgain = false;
        this.#look();
      }
    });
  }
}
