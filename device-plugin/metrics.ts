import { Counter, Gauge, Registry } from 'prom-client';
import type { Offer } from './offers.ts';

/** What the plugin counts, for `/metrics`. */
export class PluginMetrics {
  readonly #registry = new Registry();
  readonly #devices = new Gauge({
    name: 'device_mounter_hostdev_devices',
    help: 'Devices, each as often as it may be shared, as the kubelet is told of them.',
    labelNames: ['resource', 'health'],
    registers: [this.#registry],
  });
  readonly allocations = new Counter({
    name: 'device_mounter_hostdev_allocations_total',
    help: 'Calls of Allocate: ok or refused.',
    labelNames: ['resource', 'result'],
    registers: [this.#registry],
  });
  readonly registrations = new Counter({
    name: 'device_mounter_hostdev_registrations_total',
    help: 'Registrations with the kubelet: ok or failed.',
    labelNames: ['resource', 'result'],
    registers: [this.#registry],
  });
  readonly #configReads = new Counter({
    name: 'device_mounter_hostdev_config_reads_total',
    help: 'Times that the configuration file was found changed: accepted, refused or unreadable.',
    labelNames: ['result'],
    registers: [this.#registry],
  });
  readonly #configInForce = new Gauge({
    name: 'device_mounter_hostdev_config_in_force',
    help: '1, or 0 while the configuration file is refused or cannot be read. The log says why.',
    registers: [this.#registry],
  });

  constructor() {
    this.#configInForce.set(1);
  }

  configRead(result: 'accepted' | 'refused' | 'unreadable'): void {
    this.#configReads.inc({ result });
    this.#configInForce.set(result === 'accepted' ? 1 : 0);
  }

  show(resource: string, offers: readonly Offer[]): void {
    const healthy = offers.filter(({ is }) => is.problem === undefined).length;
    this.#devices.set({ resource, health: 'healthy' }, healthy);
    this.#devices.set({ resource, health: 'unhealthy' }, offers.length - healthy);
  }

  /** Ends the series of a resource that is no longer offered. */
  forget(resource: string): void {
    for (const health of ['healthy', 'unhealthy']) this.#devices.remove({ resource, health });
    for (const result of ['ok', 'refused']) this.allocations.remove({ resource, result });
    for (const result of ['ok', 'failed']) this.registrations.remove({ resource, result });
  }

  /** All of it in the Prometheus text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
