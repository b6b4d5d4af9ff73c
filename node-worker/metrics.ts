import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { failureOf } from '../contract/failures.ts';
import type { MountRecord } from './state/mount-record.ts';

/** What a node worker counts, for `/metrics`. Names follow the rules of Prometheus: base units, `_total` for counters. */
export class NodeMetrics {
  readonly #registry = new Registry();
  readonly #steps = new Histogram({
    name: 'device_mounter_node_step_seconds',
    help: 'How long the steps of mounts took on this node, waiting included.',
    labelNames: ['step', 'result'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
    registers: [this.#registry],
  });
  readonly heals = new Counter({
    name: 'device_mounter_node_heals_total',
    help: 'Drifts of rules or device nodes that were mended.',
    registers: [this.#registry],
  });
  readonly restarts = new Counter({
    name: 'device_mounter_node_container_restarts_total',
    help: 'Containers with devices that were replaced by another.',
    labelNames: ['policy'],
    registers: [this.#registry],
  });
  readonly revocations = new Counter({
    name: 'device_mounter_node_revocations_total',
    help: 'Mounts that this node took back by itself, by what it told their workflows.',
    labelNames: ['notice'],
    registers: [this.#registry],
  });

  /** @param records read at each scrape */
  constructor(records: () => readonly MountRecord[]) {
    const mounts = new Gauge({
      name: 'device_mounter_node_mounts',
      help: 'Mounts in the checkpoints of this node.',
      labelNames: ['phase'],
      registers: [],
      collect() {
        for (const phase of ['attaching', 'attached', 'revoking', 'revoked'] as const) {
          this.set({ phase }, records().filter((record) => record.phase === phase).length);
        }
      },
    });
    const stillUsed = new Gauge({
      name: 'device_mounter_node_devices_still_used',
      help: 'Devices that were taken back while processes that were killed, or may not be ended yet, still use them.',
      registers: [],
      collect() {
        const left = records().filter(({ leftToDo }) => leftToDo === 'endUsers');
        this.set(left.flatMap(({ devices }) => devices).length);
      },
    });
    const memory = new Gauge({
      name: 'device_mounter_node_resident_memory_bytes',
      help: 'Resident memory of this process.',
      registers: [],
      collect() {
        this.set(process.memoryUsage.rss());
      },
    });
    for (const gauge of [mounts, stillUsed, memory]) this.#registry.registerMetric(gauge);
  }

  /** Runs a step and records how long it took and how it ended: `ok`, or the type of its failure. */
  async timed<T>(step: 'attach' | 'detach', run: () => Promise<T>): Promise<T> {
    const end = this.#steps.startTimer({ step });
    try {
      const answer = await run();
      end({ result: 'ok' });
      return answer;
    } catch (err) {
      end({ result: failureOf(err)?.type ?? 'Internal' });
      throw err;
    }
  }

  /** All of them in the Prometheus text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
