import { expect } from '@jest/globals';
import type { DeviceMount } from '../../contract/device-mount.ts';
import type { ClusterNode } from '../../deploy/local/node/node.ts';
import { NODES } from './cluster.ts';
import { type DeviceState, deviceState } from './device-state.ts';
import { canOpen } from './exec.ts';
import { deviceMount, eventsOf, FUSE, mountOk, slavesOf, startPod, unmount } from './pods.ts';
import { removeTargets, Targets } from './targets.ts';
import { Temporal } from './temporal.ts';
import { until } from './until.ts';

export interface Mounted {
  readonly pod: string;
  readonly mounted: DeviceMount;
  /** Of the container, without the device. */
  readonly before: DeviceState;
}

/** How a mount's workflow has closed, and what `status.reason` of its DeviceMount says. */
export interface Closing {
  readonly status: 'COMPLETED' | 'CANCELLED' | 'FAILED';
  readonly reason: string;
}

/** Mounts of the one `/dev/fuse` that each node has, and what must be so after any end of one. */
export class Ends {
  readonly temporal = new Temporal();
  /** A pod on each of the nodes that has nothing to do with a test, to show that the device is free again. */
  readonly #others = new Map<string, string>();
  readonly #targets = new Targets();

  async start(nodes: readonly ClusterNode[] = NODES): Promise<void> {
    await Promise.all(nodes.map(({ name }) => this.startOther(name)));
  }

  async stop(): Promise<void> {
    await removeTargets([...this.#others.values()]);
    await this.temporal.close();
  }

  async deletePods(): Promise<void> {
    await this.#targets.remove();
  }

  /** After everything of the node is gone. */
  async startOther(node: string): Promise<void> {
    this.#others.set(node, await startPod(node));
  }

  async target(node: string, spec: Readonly<Record<string, unknown>> = {}): Promise<string> {
    return this.#targets.start(node, spec);
  }

  async mountedTarget(node: string, spec: Readonly<Record<string, unknown>> = {}, body: object = {}): Promise<Mounted> {
    const pod = await this.target(node, spec);
    const before = await deviceState(pod);
    const mounted = await mountOk(pod, FUSE, '&wait_second=30', body);
    expect(await deviceState(pod)).not.toEqual(before);
    return { pod, mounted, before };
  }

  /** Its workflow closes, its slave is gone, and an Event and the object tell why; the object of a target that is deleted goes with it. */
  async expectEnded({ metadata, spec }: DeviceMount, { status, reason }: Closing): Promise<void> {
    const closed = await this.temporal.closed(metadata.name);
    expect(closed).toMatchObject({ status, mount: { status: { reason, devices: [], slaves: [] } } });
    expect(await slavesOf(spec.podName)).toEqual([]);
    await until(`the end of ${metadata.name} to be shown`, async () => {
      const object = await deviceMount(metadata.name);
      return object === undefined || object.status.reason === reason;
    });
    expect(await eventsOf(spec.podUid, 'UnMountDevice')).toContainEqual(
      expect.stringMatching(`^Unmounted: ${reason}\\b.* \\(mount ${metadata.name} of .+\\)$`),
    );
  }

  /** Another pod of the node gets the device, and gives it back. */
  async expectFree(node: string): Promise<void> {
    const other = this.#others.get(node) ?? '';
    const { metadata } = await mountOk(other, FUSE, '&wait_second=30');
    expect(await canOpen(other, '/dev/fuse')).toBe(true);
    expect((await unmount(other)).status).toBe(200);
    await this.temporal.closed(metadata.name);
  }
}
