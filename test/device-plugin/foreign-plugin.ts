import { rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { endpointOf } from '../../device-plugin/names.ts';
import { register } from '../../device-plugin/registration.ts';
import { loadService } from '../../proto/services.ts';

/** What a plugin answers for one container (deviceplugin.proto, ContainerAllocateResponse). */
interface Granted {
  readonly envs?: Readonly<Record<string, string>>;
  readonly mounts?: readonly {
    readonly containerPath: string;
    readonly hostPath: string;
    readonly readOnly: boolean;
  }[];
  readonly devices?: readonly {
    readonly containerPath: string;
    readonly hostPath: string;
    readonly permissions: string;
  }[];
  readonly cdiDevices?: readonly { readonly name: string }[];
}

export interface Offered {
  readonly resource: string;
  /** Of its devices, which are always healthy. */
  readonly ids: readonly string[];
  readonly grant: (ids: readonly string[]) => Granted;
}

interface AllocateRequest {
  readonly containerRequests: readonly { readonly devicesIds: readonly string[] }[];
}

const DEVICE_PLUGIN = loadService('DevicePlugin');

/** A device plugin as any vendor may write one: what it grants is up to `Offered`. It registers once, and ends with its process. */
export class ForeignPlugin {
  readonly #server = new Server();
  readonly #dir: string;
  readonly #offered: Offered;
  readonly #endpoint: string;

  /** `dir` is the kubelet's folder for device plugins. */
  constructor(dir: string, offered: Offered) {
    this.#dir = dir;
    this.#offered = offered;
    this.#endpoint = endpointOf(offered.resource);
    this.#server.addService(DEVICE_PLUGIN, {
      getDevicePluginOptions: (_call: unknown, answer: sendUnaryData<object>) => answer(null, {}),
      // The stream stays open: its end is the end of the plugin.
      listAndWatch: (call: ServerWritableStream<object, object>) =>
        call.write({ devices: offered.ids.map((ID) => ({ ID, health: 'Healthy' })) }),
      allocate: ({ request }: ServerUnaryCall<AllocateRequest, object>, answer: sendUnaryData<object>) =>
        answer(null, {
          containerResponses: request.containerRequests.map(({ devicesIds }) => offered.grant(devicesIds)),
        }),
    });
  }

  /** Resolves once the kubelet has it. */
  async start(): Promise<void> {
    const socket = join(this.#dir, this.#endpoint);
    rmSync(socket, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (err) =>
        err === null ? resolve() : reject(err),
      );
    });
    await register(join(this.#dir, 'kubelet.sock'), this.#endpoint, this.#offered.resource);
  }

  /** Also of one that has not started, or only half. Leaves no file. */
  close(): void {
    this.#server.forceShutdown();
    rmSync(join(this.#dir, this.#endpoint), { force: true });
  }
}
