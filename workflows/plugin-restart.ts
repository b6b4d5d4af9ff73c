import { CancellationScope, log, sleep } from '@temporalio/workflow';
import type { ShortageInput } from '../activities/shortage.ts';
import type { DeviceMount } from '../contract/device-mount.ts';
import { failureOf } from '../contract/failures.ts';
import type { MountRequest } from '../contract/requests.ts';
import { shortage } from './activities.ts';
import { mountRetryDelayMs, PLUGIN_RESTART_MS } from './timeouts.ts';

/**
 * Waits for a device plugin that restarts, as in an upgrade of a driver: for some seconds the kubelet refuses slaves, and the scheduler finds no
 * device. What a Deployment's pods get by their ReplicaSet, a slave gets by its mount.
 */
export class PluginRestart {
  readonly #resources: MountRequest['resources'];
  #pauses = 0;
  #untilMs: number | undefined;

  constructor({ resources }: MountRequest) {
    this.#resources = resources;
  }

  /** To be waited for before trying again. */
  async pause(): Promise<void> {
    await sleep(mountRetryDelayMs(this.#pauses++));
  }

  /**
   * Answers whether a restart may be behind a failure, and there is time to wait for its end.
   * @param remainingMs of the mount's deadline
   */
  async explains(failure: unknown, { node, slaves }: DeviceMount['status'], remainingMs: number): Promise<boolean> {
    const wanted = this.#missedBy(failure);
    if (node === undefined || wanted === undefined) return false;
    this.#untilMs ??= Date.now() + PLUGIN_RESTART_MS;
    const timeMs = Math.min(this.#untilMs - Date.now(), remainingMs);
    if (timeMs <= mountRetryDelayMs(this.#pauses)) return false;
    return isPassing({ node, wanted, slaves });
  }

  /** What may have been missing; undefined when it was something else. */
  #missedBy(failure: unknown): ShortageInput['wanted'] | undefined {
    const { type, message = '' } = failureOf(failure) ?? {};
    if (type === 'SlaveEnded') return {};
    if (type !== 'InsufficientDevices') return undefined;
    // The scheduler's words: https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/scheduler/framework/plugins/noderesources/fit.go
    const lacking = Object.entries(this.#resources).filter(([name]) => message.includes(`Insufficient ${name}`));
    return lacking.length === 0 ? undefined : Object.fromEntries(lacking);
  }
}

async function isPassing(input: ShortageInput): Promise<boolean> {
  try {
    // Also when the attempt was stopped, as by the end of its slave.
    const found = await CancellationScope.nonCancellable(() =>
      shortage.executeWithOptions({ summary: `are the devices on ${input.node} only away` }, [input]),
    );
    return found === 'passing';
  } catch (err) {
    log.warn('cannot tell whether the devices are only away', { node: input.node, err });
    return false;
  }
}
