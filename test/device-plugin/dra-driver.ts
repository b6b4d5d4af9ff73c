import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { KubeAnswer } from '../../deploy/local/kube-api.ts';
import { loadService } from '../../proto/services.ts';

/** A node as CDI specs name it. */
interface CdiNode {
  readonly path: string;
  readonly hostPath?: string;
  readonly type?: 'c' | 'b';
  readonly major?: number;
  readonly minor?: number;
  readonly permissions?: string;
}

export interface DraOffer {
  /** Name of the driver, a DNS subdomain. */
  readonly driver: string;
  /** Each device by its name, with what its CDI spec gives to a container. */
  readonly devices: Readonly<
    Record<string, { readonly deviceNodes?: readonly CdiNode[]; readonly env?: readonly string[] }>
  >;
}

export interface DraNode {
  /** Its name; that of the pool, too. */
  readonly name: string;
  /** The kubelet's folder and that of CDI specs, as they are seen here. */
  readonly kubeletDir: string;
  readonly cdiDir: string;
}

/** One request to kube-apiserver, by whoever may write ResourceSlices and read ResourceClaims. */
type Send = (method: string, path: string, body?: unknown) => Promise<KubeAnswer>;

interface Claim {
  readonly namespace: string;
  readonly uid: string;
  readonly name: string;
}

interface ResourceClaim {
  readonly metadata: { readonly uid: string };
  readonly status?: {
    readonly allocation?: { readonly devices?: { readonly results?: readonly Result[] } };
  };
}

interface Result {
  readonly request: string;
  readonly driver: string;
  readonly pool: string;
  readonly device: string;
}

const API = '/apis/resource.k8s.io/v1';
/** Where the kubelet sees its own folder. */
const KUBELET_DIR = '/var/lib/kubelet';

/**
 * A driver of dynamic resource allocation as any vendor may write one: it publishes its devices in a ResourceSlice, registers with
 * the kubelet, and gives the devices of a claim by a CDI spec, which goes with the claim.
 */
export class DraDriver {
  /** What the kubelet says of the registration: nothing when all is well. */
  readonly #registered: Promise<string>;
  readonly #driver = new Server();
  readonly #registration = new Server();
  readonly #offer: DraOffer;
  readonly #node: DraNode;
  readonly #send: Send;
  readonly #files = new Set<string>();
  #slice: string | undefined;

  constructor(offer: DraOffer, node: DraNode, send: Send) {
    this.#offer = offer;
    this.#node = node;
    this.#send = send;
    const said = Promise.withResolvers<string>();
    this.#registered = said.promise;
    serve(this.#driver, loadService('DRAPlugin'), {
      nodePrepareResources: ({ claims }: { claims: readonly Claim[] }) =>
        answerEach(claims, async (claim) => ({ devices: await this.#prepare(claim) })),
      nodeUnprepareResources: ({ claims }: { claims: readonly Claim[] }) =>
        answerEach(claims, async ({ uid }) => {
          this.#remove(this.#specOf(uid));
          return {};
        }),
    });
    serve(this.#registration, loadService('PluginRegistration'), {
      getInfo: async () => ({
        type: 'DRAPlugin',
        name: offer.driver,
        endpoint: join(KUBELET_DIR, 'plugins', offer.driver, 'dra.sock'),
        supportedVersions: ['v1.DRAPlugin'],
      }),
      notifyRegistrationStatus: async (status: { readonly pluginRegistered: boolean; readonly error: string }) => {
        said.resolve(status.pluginRegistered ? '' : status.error || 'refused');
        return {};
      },
    });
  }

  /** Resolves once the kubelet has registered it and its devices are published. A kubelet that has just started deletes slices. */
  async start(): Promise<void> {
    const { kubeletDir, name } = this.#node;
    const { driver, devices } = this.#offer;
    await this.#listen(this.#driver, join(kubeletDir, 'plugins', driver), 'dra.sock');
    await this.#listen(this.#registration, join(kubeletDir, 'plugins_registry'), `${driver}-reg.sock`);
    const problem = await this.#registered;
    if (problem !== '') throw new Error(`Cannot register driver ${driver}: ${problem}`);
    const slice = `${name}-${driver}`;
    await this.#ask('DELETE', `${API}/resourceslices/${slice}`).catch(() => undefined);
    await this.#ask('POST', `${API}/resourceslices`, {
      apiVersion: 'resource.k8s.io/v1',
      kind: 'ResourceSlice',
      metadata: { name: slice },
      spec: {
        driver,
        nodeName: name,
        pool: { name, generation: 1, resourceSliceCount: 1 },
        devices: Object.keys(devices).map((device) => ({ name: device })),
      },
    });
    this.#slice = slice;
  }

  /** Also of one that has not started, or only half. Leaves no file and no slice. */
  async close(): Promise<void> {
    this.#registration.forceShutdown();
    this.#driver.forceShutdown();
    for (const file of this.#files) this.#remove(file);
    const slice = this.#slice;
    this.#slice = undefined;
    if (slice !== undefined) await this.#ask('DELETE', `${API}/resourceslices/${slice}`);
  }

  async #prepare({ namespace, name, uid }: Claim): Promise<readonly object[]> {
    const { driver, devices } = this.#offer;
    const claim = await this.#ask<ResourceClaim>('GET', `${API}/namespaces/${namespace}/resourceclaims/${name}`);
    if (claim.metadata.uid !== uid) throw new Error(`claim ${name} is another one`);
    const results = (claim.status?.allocation?.devices?.results ?? []).filter((result) => result.driver === driver);
    const kind = `${driver}/claim`;
    const file = this.#specOf(uid);
    mkdirSync(this.#node.cdiDir, { recursive: true });
    this.#files.add(file);
    const named = [...new Set(results.map(({ device }) => device))];
    const spec = named.map((device) => ({ name: `${uid}-${device}`, containerEdits: devices[device] ?? {} }));
    writeFileSync(file, JSON.stringify({ cdiVersion: '0.6.0', kind, devices: spec }));
    return results.map(({ request, pool, device }) => ({
      requestNames: [request],
      poolName: pool,
      deviceName: device,
      cdiDeviceIds: [`${kind}=${uid}-${device}`],
    }));
  }

  #specOf(uid: string): string {
    return join(this.#node.cdiDir, `${this.#offer.driver}-${uid}.json`);
  }

  #remove(file: string): void {
    rmSync(file, { force: true });
    this.#files.delete(file);
  }

  async #listen(server: Server, directory: string, name: string): Promise<void> {
    mkdirSync(directory, { recursive: true });
    const socket = join(directory, name);
    this.#remove(socket);
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (err) =>
        err === null ? resolve() : reject(err),
      );
    });
    this.#files.add(socket);
  }

  async #ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.#send(method, path, body);
    if (answer.status < 300) return answer.body as T;
    throw new Error(`${method} ${path} was answered with ${answer.status}: ${JSON.stringify(answer.body)}`);
  }
}

type Handler = (request: never) => Promise<object>;

function serve(server: Server, service: ServiceDefinition, handlers: Readonly<Record<string, Handler>>): void {
  const calls = Object.entries(handlers).map(([name, handle]) => [
    name,
    ({ request }: ServerUnaryCall<never, object>, answer: sendUnaryData<object>) =>
      void handle(request).then(
        (response) => answer(null, response),
        (err: Error) => answer({ details: err.message }),
      ),
  ]);
  server.addService(service, Object.fromEntries(calls) as UntypedServiceImplementation);
}

/** By the UID of each claim, with what went wrong with it. */
async function answerEach(claims: readonly Claim[], each: (claim: Claim) => Promise<object>): Promise<object> {
  const answers = claims.map(async (claim) => {
    const answer = await each(claim).catch((err: unknown) => ({
      error: err instanceof Error ? err.message : String(err),
    }));
    return [claim.uid, answer] as const;
  });
  return { claims: Object.fromEntries(await Promise.all(answers)) };
}
