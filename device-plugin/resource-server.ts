import { rmSync, type Stats, statSync } from 'node:fs';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { loadService } from '../proto/services.ts';
import type { HostDev } from './devs.ts';

interface AllocateRequest {
  readonly containerRequests: readonly { readonly devicesIds: readonly string[] }[];
}

const DEVICE_PLUGIN = loadService('DevicePlugin');

/** The device plugin API of one resource on one socket. It is made new for each socket: gRPC servers bind once. */
export class ResourceServer {
  readonly #dev: HostDev;
  readonly #server = new Server();
  readonly #watchers = new Set<ServerWritableStream<object, object>>();
  #healthy: boolean;
  #file: FileIdentity | undefined;
  #socketPath = '';

  constructor(dev: HostDev, healthy: boolean) {
    this.#dev = dev;
    this.#healthy = healthy;
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

  /** Tells the kubelet when the health has changed. */
  setHealthy(healthy: boolean): void {
    if (healthy === this.#healthy) return;
    this.#healthy = healthy;
    for (const watcher of this.#watchers) watcher.write(this.#list());
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.end();
    this.#server.forceShutdown();
  }

  #list(): object {
    const health = this.#healthy ? 'Healthy' : 'Unhealthy';
    return { devices: this.#dev.ids.map((id) => ({ ID: id, health })) };
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
    const { path, permissions, ids } = this.#dev;
    const unknown = request.containerRequests.flatMap(({ devicesIds }) => devicesIds).find((id) => !ids.includes(id));
    if (unknown !== undefined) {
      answer({ code: status.NOT_FOUND, details: `Cannot allocate "${unknown}": there is no such device` });
    } else if (!this.#healthy) {
      answer({ code: status.UNAVAILABLE, details: `Cannot allocate "${path}": it is no device file of the host now` });
    } else {
      const devices = [{ containerPath: path, hostPath: path, permissions }];
      answer(null, { containerResponses: request.containerRequests.map(() => ({ devices })) });
    }
  }
}

/** Changes whenever a file is made anew under the same path; an inode number alone may come back at once. */
export type FileIdentity = string;

/** Undefined when there is no such file. */
export function fileIdentity(path: string): FileIdentity | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`;
}

/** Whether `path` leads to a device file; a symlink is followed, as the container runtime does. */
export function isDevice(path: string): boolean {
  let stats: Stats | undefined;
  try {
    stats = statSync(path, { throwIfNoEntry: false });
  } catch {
    return false;
  }
  return stats !== undefined && (stats.isCharacterDevice() || stats.isBlockDevice());
}
