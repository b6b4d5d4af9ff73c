import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Allocations } from './allocations.ts';
import type { HostDev } from './devs.ts';
import { devicesOf, type Host } from './host-files.ts';
import type { PluginMetrics } from './metrics.ts';
import { endpointOf } from './names.ts';
import { givenOf, offersOf } from './offers.ts';
import { register } from './registration.ts';
import { type FileIdentity, fileIdentity, type Inventory, ResourceServer } from './resource-server.ts';

export interface ResourceSettings {
  /** Device plugin directory of the kubelet. */
  readonly pluginDir: string;
  readonly host: Host;
  readonly allocations: Allocations;
  readonly metrics: PluginMetrics;
  /**
   * Pause before the same kubelet is asked again, in milliseconds; doubled up to 16 times as long. Also how long a kubelet may
   * follow nobody: after a second registration it may end the old stream before it opens the new one.
   */
  readonly pauseMs: number;
}

const LONGEST_PAUSE = 16;

/** Keeps one resource served and registered, whatever the kubelet does. */
export class ResourcePlugin {
  #dev: HostDev;
  readonly #settings: ResourceSettings;
  readonly #log: Logger;
  readonly #kubeletSocket: string;
  #server: ResourceServer | undefined;
  /** The kubelet's socket at the last look. A kubelet that starts makes it anew. */
  #kubelet: FileIdentity | undefined;
  #registered = false;
  #serving: Promise<void> | undefined;
  #pause = 1;
  #nextAt = 0;
  #lastProblem = '';

  constructor(dev: HostDev, settings: ResourceSettings, log: Logger) {
    this.#dev = dev;
    this.#settings = settings;
    this.#log = log.child({ resource: dev.resource });
    this.#kubeletSocket = join(settings.pluginDir, 'kubelet.sock');
  }

  get registered(): boolean {
    return this.#registered && this.#followed;
  }

  /** Compares what is with what should be, now as in `dev`. What is missing is mended in the background, so that no resource waits for another. */
  look(dev: HostDev): void {
    const now = performance.now();
    this.#dev = dev;
    this.#server?.refresh();
    if (this.#serving !== undefined) return;
    this.#lookForKubelet(now);
    const reachable = this.#server?.reachable ?? false;
    if (this.#kubelet !== undefined && reachable && this.registered) this.#waitFrom(now, 1);
    else if (this.#kubelet !== undefined && now >= this.#nextAt) {
      this.#serving = this.#serve(this.#kubelet).finally(() => {
        this.#serving = undefined;
      });
    }
  }

  async close(): Promise<void> {
    await this.#serving;
    this.#closeServer();
  }

  get #followed(): boolean {
    return (this.#server?.watcherCount ?? 0) > 0;
  }

  /** A new kubelet is asked at once. */
  #lookForKubelet(now: number): void {
    const kubelet = fileIdentity(this.#kubeletSocket);
    if (kubelet === undefined)
      this.#report(new Error(`there is no ${this.#kubeletSocket}: the kubelet is not running`));
    if (kubelet !== this.#kubelet) {
      this.#registered = false;
      this.#pause = 1;
      this.#nextAt = now;
    }
    this.#kubelet = kubelet;
  }

  #waitFrom(now: number, pause: number): void {
    this.#pause = pause;
    this.#nextAt = now + pause * this.#settings.pauseMs;
  }

  async #serve(kubelet: FileIdentity): Promise<void> {
    this.#registered = false;
    try {
      const endpoint = endpointOf(this.#dev.resource);
      if (!this.#server?.reachable) await this.#listen(endpoint);
      await register(this.#kubeletSocket, endpoint, this.#dev.resource);
      this.#registered = true;
      this.#count('ok');
      this.#lastProblem = '';
      this.#log.info('registered with the kubelet');
    } catch (err) {
      this.#count('failed');
      this.#report(err);
    } finally {
      // It may be another kubelet by now: that is seen at the next look.
      if (this.#kubelet === kubelet) this.#waitFrom(performance.now(), Math.min(LONGEST_PAUSE, this.#pause * 2));
    }
  }

  async #listen(endpoint: string): Promise<void> {
    // A closing server removes its socket file: close the old one before the new one listens.
    this.#closeServer();
    const server = new ResourceServer(this.#inventory());
    await server.listen(join(this.#settings.pluginDir, endpoint));
    this.#server = server;
  }

  #inventory(): Inventory {
    const { host, allocations, metrics } = this.#settings;
    const { resource } = this.#dev;
    return {
      offers: () => {
        const offers = offersOf(this.#dev, devicesOf(this.#dev, host), allocations.of(resource));
        metrics.show(resource, offers);
        return offers;
      },
      given: (devices) =>
        allocations.record(resource, new Map([...devices].map(([id, device]) => [id, givenOf(device)]))),
      answered: (result) => metrics.allocations.inc({ resource, result }),
    };
  }

  #closeServer(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  #count(result: 'ok' | 'failed'): void {
    this.#settings.metrics.registrations.inc({ resource: this.#dev.resource, result });
  }

  #report(err: unknown): void {
    const problem = err instanceof Error ? err.message : String(err);
    if (problem !== this.#lastProblem) this.#log.warn({ err }, 'not registered with the kubelet');
    this.#lastProblem = problem;
  }
}
