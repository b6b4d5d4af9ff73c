import { readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  Client,
  type ClientReadableStream,
  credentials,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { callOnce, loadService } from '../../proto/services.ts';

interface Registered {
  readonly version: string;
  readonly endpoint: string;
  readonly resourceName: string;
}

const REGISTRATION = loadService('Registration');
const DEVICE_PLUGIN = loadService('DevicePlugin');

/** The kubelet's half of the device plugin API on a real socket: registers, dials back inside of the call, follows the devices. */
export class KubeletSide {
  readonly registered: Registered[] = [];
  /** What Register is answered instead of following the plugin. */
  refusal: string | undefined;
  /** Calls of Register, whatever became of them. */
  asked = 0;
  readonly lists = new Map<string, unknown[]>();
  readonly clients = new Map<string, Client>();
  readonly streams = new Map<string, ClientReadableStream<{ devices: unknown }>>();
  readonly #server = new Server();
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async start(): Promise<void> {
    // As the real one does: sockets of plugins go when it starts, folders stay.
    for (const entry of readdirSync(this.#dir, { withFileTypes: true }))
      if (!entry.isDirectory()) rmSync(join(this.#dir, entry.name));
    // Under another name at first: one that is killed leaves its socket where it is, and this one would remove it.
    const bound = join(this.#dir, `kubelet-${process.hrtime.bigint()}`);
    this.#server.addService(REGISTRATION, {
      register: (call: ServerUnaryCall<Registered, object>, answer: sendUnaryData<object>) => {
        this.asked += 1;
        this.#dialBack(call.request).then(
          () => answer(null, {}),
          (err: Error) => answer({ code: status.UNKNOWN, details: err.message }),
        );
      },
    });
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(`unix:${bound}`, ServerCredentials.createInsecure(), (err) =>
        err ? reject(err) : resolve(),
      );
    });
    renameSync(bound, join(this.#dir, 'kubelet.sock'));
  }

  async #dialBack(request: Registered): Promise<void> {
    if (this.refusal !== undefined) throw new Error(this.refusal);
    const client = new Client(`unix:${join(this.#dir, request.endpoint)}`, credentials.createInsecure());
    await callOnce(client, DEVICE_PLUGIN, 'GetDevicePluginOptions', {}, { timeoutMs: 60_000 });
    this.clients.set(request.resourceName, client);
    const { path, requestSerialize, responseDeserialize } = DEVICE_PLUGIN['ListAndWatch']!;
    const lists: unknown[] = [];
    const stream = client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      {},
    ) as ClientReadableStream<{ devices: unknown }>;
    stream.on('data', ({ devices }: { devices: unknown }) => lists.push(devices));
    const before = this.streams.get(request.resourceName);
    stream.on('error', () => {
      if (this.streams.get(request.resourceName) === stream) this.lists.delete(request.resourceName);
    });
    this.streams.set(request.resourceName, stream);
    // A plugin that registers again replaces itself.
    before?.cancel();
    this.lists.set(request.resourceName, lists);
    this.registered.push(request);
  }

  allocate(resource: string, ...ids: readonly string[][]): Promise<unknown> {
    const request = { containerRequests: ids.map((devicesIds) => ({ devicesIds })) };
    return callOnce(this.clients.get(resource)!, DEVICE_PLUGIN, 'Allocate', request, { timeoutMs: 60_000 });
  }

  /** Ends without tidying up, as a killed one: its socket is left behind. */
  kill(): void {
    for (const client of this.clients.values()) client.close();
    this.#server.forceShutdown();
  }

  /** The last list of a resource's devices, as `id health`. */
  devices(resource: string): readonly string[] | undefined {
    const last = this.lists.get(resource)?.at(-1) as readonly { ID: string; health: string }[] | undefined;
    return last?.map(({ ID, health }) => `${ID} ${health}`);
  }

  stop(): void {
    this.kill();
    rmSync(join(this.#dir, 'kubelet.sock'), { force: true });
  }
}
