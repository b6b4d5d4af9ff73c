import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { endpointOf } from '../../device-plugin/names.ts';
import { register } from '../../device-plugin/registration.ts';
import { loadService } from '../../proto/services.ts';

/** What a plugin answers for one container (deviceplugin.proto, ContainerAllocateResponse). */
export interface Granted {
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
  /** A failure is told to the kubelet, which gives up the pod. */
  readonly grant: (ids: readonly string[]) => Granted | Promise<Granted>;
}

interface AllocateRequest {
  readonly containerRequests: readonly { readonly devicesIds: readonly string[] }[];
}

const DEVICE_PLUGIN = loadService('DevicePlugin');
const LOOK_MS = 500;

/** A device plugin as any vendor may write one: what it grants is up to `Offered`. It ends with its process. */
export class ForeignPlugin {
  readonly #server = new Server();
  readonly #dir: string;
  readonly #offered: Offered;
  readonly #endpoint: string;
  #looking: NodeJS.Timeout | undefined;

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
        void Promise.all(request.containerRequests.map(async ({ devicesIds }) => offered.grant(devicesIds))).then(
          (containerResponses) => answer(null, { containerResponses }),
          (err: Error) => answer({ code: status.UNKNOWN, details: err.message }),
        ),
    });
  }

  /** Starts it, and starts it again whenever a kubelet that has started has removed its socket. */
  async stay(): Promise<void> {
    await this.start();
    let isBusy = false;
    this.#looking = setInterval(() => {
      if (isBusy || existsSync(join(this.#dir, this.#endpoint))) return;
      isBusy = true;
      this.#server.unbind(`unix:${join(this.#dir, this.#endpoint)}`);
      // The kubelet may not listen yet.
      const again = this.start().catch(() => rmSync(join(this.#dir, this.#endpoint), { force: true }));
      void again.finally(() => {
        isBusy = false;
      });
    }, LOOK_MS);
  }

  /** Resolves once the kubelet has it, which forgets it when it starts anew. */
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
    clearInterval(this.#looking);
    this.#server.forceShutdown();
    rmSync(join(this.#dir, this.#endpoint), { force: true });
  }
}
