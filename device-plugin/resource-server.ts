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
import type { Device } from './host-files.ts';

interface AllocateRequest {
  readonly containerRequests: readonly { readonly devicesIds: readonly string[] }[];
}

const DEVICE_PLUGIN = loadService('DevicePlugin');

/** The device plugin API of one resource on one socket. It is made new for each socket: gRPC servers bind once. */
export class ResourceServer {
  readonly #server = new Server();
  readonly #watchers = new Set<ServerWritableStream<object, object>>();
  readonly #look: () => readonly Device[];
  #devices: readonly Device[];
  #file: FileIdentity | undefined;
  #socketPath = '';

  /** `look` answers the devices as they are at the moment. */
  constructor(look: () => readonly Device[]) {
    this.#look = look;
    this.#devices = look();
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
    this.#devices = this.#look();
    const now = this.#list();
    if (!isDeepStrictEqual(now, before)) for (const watcher of this.#watchers) watcher.write(now);
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.end();
    this.#server.forceShutdown();
  }

  #list(): object {
    const devices = this.#devices.flatMap(({ ids, problem }) =>
      ids.map((id) => ({ ID: id, health: problem === undefined ? 'Healthy' : 'Unhealthy' })),
    );
    return { devices };
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
      const containerResponses = request.containerRequests.map(({ devicesIds }) => ({
        devices: this.#nodesOf(devicesIds),
      }));
      answer(null, { containerResponses });
    } catch (err) {
      answer({ code: status.UNAVAILABLE, details: err instanceof Error ? err.message : String(err) });
    }
  }

  /** Two copies of a device have the same files. */
  #nodesOf(ids: readonly string[]): readonly Device['nodes'][number][] {
    const byPath = new Map<string, Device['nodes'][number]>();
    for (const id of ids) {
      const device = this.#devices.find((one) => one.ids.includes(id));
      if (device === undefined) throw new Error(`Cannot allocate "${id}": there is no such device`);
      if (device.problem !== undefined) throw new Error(`Cannot allocate "${id}": ${device.problem}`);
      for (const node of device.nodes) {
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
}

/** Changes whenever a file is made anew under the same path; an inode number alone may come back at once. */
export type FileIdentity = string;

/** Undefined when there is no such file. */
export function fileIdentity(path: string): FileIdentity | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`;
}
