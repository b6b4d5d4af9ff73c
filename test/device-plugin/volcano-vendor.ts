import { join } from 'node:path';
import { ForeignPlugin, type Offered } from './foreign-plugin.ts';
import { type Choice, type Pod, type Send, VolcanoScheduler } from './volcano-scheduler.ts';

export interface VendorOptions {
  readonly node: string;
  readonly namespace: string;
  /** Root of the node's file system. */
  readonly files: string;
  readonly send: Send;
}

/** Volcano's scheduler on one node, with the device plugins of a vendor whose devices it gives out. */
export abstract class VolcanoVendor {
  readonly #dir: string;
  readonly #scheduler: VolcanoScheduler;
  #plugins: readonly ForeignPlugin[] = [];

  constructor(options: VendorOptions) {
    this.#dir = join(options.files, 'var/lib/kubelet/device-plugins');
    this.#scheduler = new VolcanoScheduler(options, options.send, (pod, others) => this.choose(pod, others));
  }

  protected abstract choose(pod: Pod, others: readonly Pod[]): Choice;
  protected abstract offered(): readonly Offered[];

  async start(): Promise<void> {
    for (const plugin of this.#begin()) await plugin.start();
  }

  /** As `start`, and comes back whatever becomes of the kubelet. */
  async stay(): Promise<void> {
    for (const plugin of this.#begin()) await plugin.stay();
  }

  #begin(): readonly ForeignPlugin[] {
    this.#scheduler.start();
    this.#plugins = this.offered().map((offered) => new ForeignPlugin(this.#dir, offered));
    return this.#plugins;
  }

  /** Also one that has not started, or only half. Rejects with what has ended the scheduler before. */
  async close(): Promise<void> {
    for (const plugin of this.#plugins) plugin.close();
    await this.#scheduler.close();
  }
}
