import { mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
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
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { callOnce, loadService } from '../proto/services.ts';
import { eventually } from '../test/workflows/outcome.ts';
import { parseDevs } from './devs.ts';
import { HostDevPlugin } from './host-dev-plugin.ts';

interface Registered {
  readonly version: string;
  readonly endpoint: string;
  readonly resourceName: string;
}

const REGISTRATION = loadService('Registration');
const DEVICE_PLUGIN = loadService('DevicePlugin');

/** The kubelet's half: registers, dials back inside of the call, follows the devices. */
class KubeletSide {
  readonly registered: Registered[] = [];
  readonly lists = new Map<string, unknown[]>();
  readonly clients = new Map<string, Client>();
  readonly streams = new Map<string, ClientReadableStream<{ devices: unknown }>>();
  readonly #server = new Server();
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async start(): Promise<void> {
    // As the real one does: sockets of plugins go when it starts.
    for (const file of readdirSync(this.#dir)) rmSync(join(this.#dir, file));
    this.#server.addService(REGISTRATION, {
      register: (call: ServerUnaryCall<Registered, object>, answer: sendUnaryData<object>) => {
        this.#dialBack(call.request).then(
          () => answer(null, {}),
          (err: Error) => answer({ code: status.UNKNOWN, details: err.message }),
        );
      },
    });
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(`unix:${join(this.#dir, 'kubelet.sock')}`, ServerCredentials.createInsecure(), (err) =>
        err ? reject(err) : resolve(),
      );
    });
  }

  async #dialBack(request: Registered): Promise<void> {
    const client = new Client(`unix:${join(this.#dir, request.endpoint)}`, credentials.createInsecure());
    await callOnce(client, DEVICE_PLUGIN, 'GetDevicePluginOptions', {}, { timeoutMs: 2_000 });
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
    stream.on('error', () => this.lists.delete(request.resourceName));
    this.streams.set(request.resourceName, stream);
    this.lists.set(request.resourceName, lists);
    this.registered.push(request);
  }

  allocate(resource: string, ...ids: readonly string[][]): Promise<unknown> {
    const request = { containerRequests: ids.map((devicesIds) => ({ devicesIds })) };
    return callOnce(this.clients.get(resource)!, DEVICE_PLUGIN, 'Allocate', request, { timeoutMs: 2_000 });
  }

  stop(): void {
    for (const client of this.clients.values()) client.close();
    this.#server.forceShutdown();
  }
}

const FUSE = 'hostdev.k8s.io/dev_fuse';
let dir = '';
let devRoot = '';
let kubelet: KubeletSide;
let plugin: HostDevPlugin | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'plugins-'));
  devRoot = mkdtempSync(join(tmpdir(), 'dev-'));
  // A symlink to a device file counts as one; making a device file needs root.
  symlinkSync('/dev/null', join(devRoot, 'fuse'));
  symlinkSync('/dev/null', join(devRoot, 'kvm'));
  kubelet = new KubeletSide(dir);
});

afterEach(async () => {
  await plugin?.close();
  kubelet.stop();
  rmSync(dir, { recursive: true });
  rmSync(devRoot, { recursive: true });
});

function startPlugin(devs = '/dev/fuse:rwm,/dev/kvm:rw:2'): HostDevPlugin {
  plugin = new HostDevPlugin({
    devs: parseDevs(devs).devs,
    pluginDir: dir,
    devRoot,
    pollMs: 50,
    log: pino({ enabled: false }),
  });
  return plugin;
}

async function started(): Promise<HostDevPlugin> {
  await kubelet.start();
  const running = startPlugin();
  await eventually(() => running.registered && (kubelet.lists.get(FUSE)?.length ?? 0) > 0);
  return running;
}

describe('HostDevPlugin', () => {
  test('registers each resource on a socket of its own and lists its devices', async () => {
    await started();
    await eventually(() => kubelet.lists.size === 2);
    expect(kubelet.registered.map(({ version, endpoint, resourceName }) => [version, endpoint, resourceName])).toEqual(
      expect.arrayContaining([
        ['v1beta1', 'hostdev.k8s.io_dev_fuse.sock', FUSE],
        ['v1beta1', 'hostdev.k8s.io_dev_kvm.sock', 'hostdev.k8s.io/dev_kvm'],
      ]),
    );
    expect(kubelet.lists.get(FUSE)).toEqual([[{ ID: '/dev/fuse', health: 'Healthy' }]]);
    expect(kubelet.lists.get('hostdev.k8s.io/dev_kvm')?.[0]).toHaveLength(2);
  });

  test('answers each container of an Allocate with the device node', async () => {
    await started();
    const node = { containerPath: '/dev/fuse', hostPath: '/dev/fuse', permissions: 'rwm' };
    expect(await kubelet.allocate(FUSE, ['/dev/fuse'], ['/dev/fuse'])).toMatchObject({
      containerResponses: [{ devices: [node] }, { devices: [node] }],
    });
    await expect(kubelet.allocate(FUSE, ['/dev/kvm'])).rejects.toThrow('there is no such device');
  });

  test('says so when the device file goes and comes back', async () => {
    await started();
    const health = (): unknown => kubelet.lists.get(FUSE)?.at(-1);
    renameSync(join(devRoot, 'fuse'), join(devRoot, 'away'));
    await eventually(() => JSON.stringify(health()).includes('Unhealthy'));
    await expect(kubelet.allocate(FUSE, ['/dev/fuse'])).rejects.toThrow('it is no device file of the host now');
    renameSync(join(devRoot, 'away'), join(devRoot, 'fuse'));
    await eventually(() => JSON.stringify(health()).includes('Healthy'));
  });

  test('waits for a kubelet that starts later', async () => {
    startPlugin();
    await kubelet.start();
    await eventually(() => plugin!.registered);
  });

  test.each(['stopped', 'killed'])('registers again after the kubelet was %s and started', async (how) => {
    const running = await started();
    if (how === 'stopped') kubelet.stop();
    else for (const stream of kubelet.streams.values()) stream.cancel();
    const next = new KubeletSide(dir);
    await next.start();
    await eventually(
      () => next.registered.length === 2 && running.registered && (next.lists.get(FUSE)?.length ?? 0) > 0,
    );
    expect(await next.allocate(FUSE, ['/dev/fuse'])).toBeDefined();
    kubelet.stop();
    kubelet = next;
  });

  test('serves again when only its own socket was removed', async () => {
    await started();
    const before = kubelet.registered.length;
    unlinkSync(join(dir, 'hostdev.k8s.io_dev_fuse.sock'));
    await eventually(() => kubelet.registered.length === before + 1 && plugin!.registered);
    expect(await kubelet.allocate(FUSE, ['/dev/fuse'])).toBeDefined();
  });

  test('registers again when the same kubelet has dropped it', async () => {
    await started();
    const before = kubelet.registered.length;
    kubelet.streams.get(FUSE)?.cancel();
    await eventually(() => kubelet.registered.length === before + 1 && plugin!.registered);
  });

  test('replaces the socket file that a killed plugin left', async () => {
    await kubelet.start();
    writeFileSync(join(dir, 'hostdev.k8s.io_dev_fuse.sock'), '');
    startPlugin();
    await eventually(() => plugin!.registered);
  });

  test('close() ends the streams and removes the sockets', async () => {
    const running = await started();
    await running.close();
    plugin = undefined;
    expect(readdirSync(dir)).toEqual(['kubelet.sock']);
  });
});
