import type { V1APIService, V1Namespace } from '@kubernetes/client-node';
import { pause } from '../../process/pause.ts';
import { API_SERVICE, apiserverProblem, changedApiService, isAvailable, isFailing, isOurs } from './api-service.ts';
import type { InstallObjects } from './kubernetes.ts';
import { SERVICE, servingAuthorities } from './serving-certificate.ts';

export interface RegistrarOptions {
  readonly objects: InstallObjects;
  /** Name of the ClusterRole that the APIService belongs to. */
  readonly owner: string;
  /** `<namespace>/<Certificate>` of cert-manager, if that is who writes caBundle. */
  readonly injectFrom: string | undefined;
  readonly log: {
    readonly info: (object: object, message: string) => void;
    readonly warn: (object: object, message: string) => void;
  };
  readonly nowMs: () => number;
  /** Between two looks while all is well, in milliseconds. */
  readonly periodMs: number;
  /** How long the apiserver may take to say that it is ready, in milliseconds. */
  readonly answerMs?: number;
}

const ANSWER_MS = 3_000;
/** How long no apiserver may be ready, or be reachable for kube-apiserver, before the APIService is taken away. */
export const PATIENCE_MS = 10_000;
/** Until it is tried again with an apiserver that kube-apiserver could not reach; doubled at each time, up to the second. */
const AGAIN_MS = { first: 30_000, longest: 1_000_000 };
/** A watch that ends at once must not become a loop of reads. */
const WATCH_PAUSE_MS = 500;
/** Between two looks while the API is not registered, and while the namespace is ending. */
const WAITING_PERIOD_MS = 1_000;
const ENDING_PERIOD_MS = 200;

/**
 * Keeps the APIService as long as it can be answered, and no longer: an APIService that nobody answers stops every deletion of a namespace
 * in the cluster. See docs/decisions/0018-the-control-worker-registers-the-api.md.
 */
export class ApiRegistrar {
  readonly #options: RegistrarOptions;
  readonly #end = new AbortController();
  #ending = false;
  #stopping = false;
  #wake: () => void = () => undefined;
  #readyMs: number;
  #failingMs: number | undefined;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #againMs = AGAIN_MS.first;
  #told = '';

  constructor(options: RegistrarOptions) {
    this.#options = options;
    this.#readyMs = options.nowMs();
  }

  /** Resolves after `stop`. */
  async run(): Promise<void> {
    await Promise.all([this.#lookAgain(), this.#watchNamespace()]);
  }

  /** From now on it only takes the APIService away, where that has to be. */
  registerNoMore(): void {
    this.#stopping = true;
  }

  stop(): void {
    this.registerNoMore();
    this.#end.abort();
    this.#wake();
  }

  async #lookAgain(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      let isWell = false;
      try {
        isWell = await this.look();
      } catch (err) {
        this.#tell(`cannot look after the APIService: ${String(err)}`);
      }
      const waitingMs = this.#ending ? ENDING_PERIOD_MS : WAITING_PERIOD_MS;
      if (!signal.aborted) await pause(isWell ? this.#options.periodMs : waitingMs, woken.signal);
    }
  }

  async #watchNamespace(): Promise<void> {
    const { objects, log } = this.#options;
    const { signal } = this.#end;
    while (!signal.aborted && !this.#ending) {
      const beganMs = performance.now();
      try {
        const namespace = await objects.getNamespace();
        if (this.#sees(namespace)) break;
        await objects.namespaceChanged(namespace?.metadata?.resourceVersion ?? '', signal);
      } catch (err) {
        if (!signal.aborted) log.warn({ err }, 'cannot watch the namespace of device-mounter');
      }
      if (performance.now() - beganMs < WATCH_PAUSE_MS) await pause(WATCH_PAUSE_MS, signal);
    }
    this.#wake();
  }

  /** Whether the namespace is ending, which it does for ever. */
  #sees(namespace: V1Namespace | undefined): boolean {
    this.#ending ||= namespace?.metadata?.deletionTimestamp !== undefined || namespace === undefined;
    return this.#ending;
  }

  /** Does what has to be done now. Answers whether the API was registered as it has to be. */
  async look(): Promise<boolean> {
    const { objects, owner, nowMs } = this.#options;
    const api = await objects.apiService(API_SERVICE).get();
    this.#backOff(api);
    if (this.#ending) return this.#takeAway(api, 'its namespace is ending');
    const uid = await objects.clusterRoleUid(owner);
    if (uid === undefined) return this.#takeAway(api, `there is no ClusterRole "${owner}" any more`);
    const ready = await objects.hasReadyEndpoint(SERVICE);
    if (ready) this.#readyMs = nowMs();
    else if (nowMs() - this.#readyMs >= PATIENCE_MS) return this.#takeAway(api, 'no apiserver is ready');
    if (this.#failingMs !== undefined && nowMs() - this.#failingMs >= PATIENCE_MS) {
      return this.#takeAway(api, 'kube-apiserver cannot reach the apiserver: see docs/guides/blocked-namespaces.md');
    }
    if (!ready || nowMs() < this.#notBeforeMs) return false;
    if (api !== undefined && !isOurs(api, objects.namespace)) return this.#refuse(api);
    return this.#register(api, uid);
  }

  /** Every replica sees that an APIService is gone which could not be reached, whichever of them has taken it away. */
  #backOff(api: V1APIService | undefined): void {
    const { objects, nowMs } = this.#options;
    if (api !== undefined && isOurs(api, objects.namespace) && isFailing(api)) {
      this.#failingMs ??= nowMs();
      return;
    }
    if (api !== undefined && isAvailable(api)) this.#againMs = AGAIN_MS.first;
    if (api === undefined && this.#failingMs !== undefined) {
      this.#notBeforeMs = nowMs() + this.#againMs;
      this.#againMs = Math.min(2 * this.#againMs, AGAIN_MS.longest);
    }
    this.#failingMs = undefined;
  }

  async #register(api: V1APIService | undefined, uid: string): Promise<boolean> {
    const { objects, owner, injectFrom, log, answerMs = ANSWER_MS } = this.#options;
    const address = await objects.serviceAddress(SERVICE);
    if (address === undefined) return false;
    const authorities = await servingAuthorities(objects);
    const { namespace } = objects;
    const registration = { namespace, port: address.port, owner: { name: owner, uid }, authorities, injectFrom };
    const changed = changedApiService(api, registration);
    if (changed === undefined) return true;
    const problem = await apiserverProblem(address, namespace, authorities, answerMs);
    if (problem !== undefined)
      return this.#tell(`cannot register the API yet: the apiserver is not ready (${problem})`);
    if (this.#sees(await objects.getNamespace()) || this.#stopping) return false;
    if (await objects.apiService(API_SERVICE).write(changed))
      log.info({ apiService: API_SERVICE }, 'registered the API');
    this.#told = '';
    return false;
  }

  async #takeAway(api: V1APIService | undefined, why: string): Promise<false> {
    const { objects, log } = this.#options;
    const uid = api?.metadata?.uid;
    if (api === undefined || uid === undefined || !isOurs(api, objects.namespace)) return false;
    await objects.deleteApiService(API_SERVICE, uid);
    log.warn({ apiService: API_SERVICE, why }, 'took the API away, so that namespaces can be deleted');
    return false;
  }

  #refuse({ spec }: V1APIService): false {
    const where = `${spec?.service?.namespace}/${spec?.service?.name}`;
    return this.#tell(
      `cannot register the API: APIService ${API_SERVICE} leads to Service "${where}". If nothing is there, delete it`,
    );
  }

  #tell(sentence: string): false {
    if (sentence !== this.#told) this.#options.log.warn({}, sentence);
    this.#told = sentence;
    return false;
  }
}
