import { rmSync, statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { loadService } from '../proto/services.ts';
import type { HostDevice } from './host-files.ts';
import type { Offer } from './offers.ts';

interface AllocateRequest {
  readonly containerRequests: readonly { readonly devicesIds: readonly string[] }[];
}

/** What a resource consists of. */
export interface Inventory {
  /** As it is at the moment. */
  offers(): readonly Offer[];
  /** Called before an Allocate is answered, with the device of each id. */
  given(devices: ReadonlyMap<string, HostDevice>): void;
  /** Called when an Allocate was answered or refused. */
  answered(result: 'ok' | 'refused'): void;
}

const DEVICE_PLUGIN = loadService('DevicePlugin');

/** The device plugin API of one resource on one socket. It is made new for each socket: gRPC servers bind once. */
export class ResourceServer {
  readonly #server = new Server();
  readonly #watchers = new Set<ServerWritableStream<object, object>>();
  readonly #inventory: Inventory;
  #offers: readonly Offer[];
  #file: FileIdentity | undefined;
  #socketPath = '';

  constructor(inventory: Inventory) {
    this.#inventory = inventory;
    this.#offers = inventory.offers();
    this.#server.addService(DEVICE_PLUGIN, {
      getDevicePluginOptions: (_call: unknown, answer: sendUnaryData<object>) => answer(null, {}),
      listAndWatch: (call: ServerWritableStream<object, object>) => this.#listAndWatch(call),
      allocate: (call: ServerUnaryCall<AllocateRequest, object>, answer: sendUnaryData<object>) =>
        this.#allocate(call.request, answer),
    });
  }

  /** Listens on `socketPath`, in place of whatever file a former process left there. */
  async listen(socketPath: string): Promise<void> {
    rmSync(socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (err) =>
        err === null ? resolve() : reject(err),
      );
    });
    this.#socketPath = socketPath;
    this.#file = fileIdentity(socketPath);
  }

  /** False once somebody has removed or replaced the socket's file, as the kubelet does when it starts. */
  get reachable(): boolean {
    return this.#file !== undefined && this.#file === fileIdentity(this.#socketPath);
  }

  /** How many kubelets follow the devices now: 1, or 0 when it has lost the plugin. */
  get watcherCount(): number {
    return this.#watchers.size;
  }

  /** Looks at the devices, and tells the kubelet when they have changed. */
  refresh(): void {
    const before = this.#list();
    this.#offers = this.#inventory.offers();
    const now = this.#list();
    if (!isDeepStrictEqual(now, before)) for (const watcher of this.#watchers) watcher.write(now);
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.end();
    this.#server.forceShutdown();
  }

  #list(): object {
    return { devices: this.#offers.map(({ id, is }) => ({ ID: id, ...healthOf(is) })) };
  }

  #listAndWatch(call: ServerWritableStream<object, object>): void {
    this.#watchers.add(call);
    call.on('cancelled', () => {
      this.#watchers.delete(call);
      call.end();
    });
    call.write(this.#list());
  }

  #allocate(request: AllocateRequest, answer: sendUnaryData<object>): void {
    this.refresh();
    try {
      const containers = request.containerRequests.map(({ devicesIds }) => this.#devicesOf(devicesIds));
      const containerResponses = containers.map((devices) => ({ devices: nodesOf(devices) }));
      for (const devices of containers) this.#inventory.given(devices);
      this.#inventory.answered('ok');
      answer(null, { containerResponses });
    } catch (err) {
      this.#inventory.answered('refused');
      answer({ code: status.UNAVAILABLE, details: err instanceof Error ? err.message : String(err) });
    }
  }

  #devicesOf(ids: readonly string[]): ReadonlyMap<string, HostDevice> {
    const devices = ids.map((id) => {
      const is = this.#offers.find((offer) => offer.id === id)?.is ?? { problem: 'there is no such device' };
      if (!('nodes' in is) || is.problem !== undefined) throw new Error(`Cannot allocate "${id}": ${is.problem}`);
      return [id, is] as const;
    });
    return new Map(devices);
  }
}

function healthOf(is: Offer['is']): object {
  if (is.problem !== undefined) return { health: 'Unhealthy' };
  const near = 'nodes' in is ? is.numaNodes : [];
  return { health: 'Healthy', ...(near.length > 0 && { topology: { nodes: near.map((ID) => ({ ID })) } }) };
}

/** Two copies of a device have the same files. */
function nodesOf(devices: ReadonlyMap<string, HostDevice>): readonly HostDevice['nodes'][number][] {
  const byPath = new Map<string, HostDevice['nodes'][number]>();
  for (const [id, { nodes }] of devices) {
    for (const node of nodes) {
      const other = byPath.get(node.containerPath);
      if (other !== undefined && other.hostPath !== node.hostPath)
        throw new Error(
          `Cannot allocate "${id}": ${node.containerPath} would be two devices; use a containerPath that ends with /`,
        );
      byPath.set(node.containerPath, node);
    }
  }
  return [...byPath.values()];
}

/** Changes whenever a file is made anew under the same path; an inode number alone may come back at once. */
export type FileIdentity = string;

/** Undefined when there is no such file. */
export function fileIdentity(path: string): FileIdentity | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`;
}
